"""Days of queries, unlike each other, for comparing what the analysis predicts with what an engine does.

Each is a trace: which key was asked when, with what template and result. All are drawn from seeds, so that
every run has the same ones. Times are seconds from the day's beginning; a "day" here is two hours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SECONDS: Final = 7_200
READS: Final = 400_000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workload:
    """A trace of reads by time, and of writes by time."""

    name: str
    at: Floats
    key: Ints
    template: Ints
    """Of each key's text; the table has the same number."""
    size: Ints
    """Bytes of the key's result, by key."""
    duration_us: Floats
    """Of each read."""
    write_at: Floats
    write_table: Ints


def _zipf(draw: np.random.Generator, skew: float, keys: int, reads: int) -> Ints:
    weights = 1.0 / np.arange(1, keys + 1) ** skew
    edges = np.cumsum(weights)
    return np.searchsorted(edges, draw.random(reads) * edges[-1]).astype(np.int64)


def _evenly(draw: np.random.Generator, reads: int) -> Floats:
    return np.sort(draw.random(reads) * SECONDS)


def _made(  # noqa: PLR0913, PLR0917 - the columns of a trace
    name: str,
    draw: np.random.Generator,
    at: Floats,
    key: Ints,
    templates: int = 12,
    write_at: Floats | None = None,
    write_table: Ints | None = None,
) -> Workload:
    keys = int(key.max()) + 1
    template = np.arange(keys) % templates
    none = np.zeros(0)
    return Workload(
        name,
        at,
        key,
        template,
        # Results of 100 bytes to some kilobytes, most of them small.
        np.minimum(np.exp(draw.normal(6.5, 0.8, keys)), 20_000).astype(np.int64) + 60,
        np.exp(draw.normal(7.3, 0.6, len(key))),
        none if write_at is None else write_at,
        none.astype(np.int64) if write_table is None else write_table,
    )


def steep() -> Workload:
    """A shop: a few pages are asked for all the time."""
    draw = np.random.default_rng(11)
    return _made("steep Zipf", draw, _evenly(draw, READS), _zipf(draw, 1.1, 60_000, READS))


def flat() -> Workload:
    """An archive: nearly everything is asked for now and then."""
    draw = np.random.default_rng(12)
    return _made("flat Zipf", draw, _evenly(draw, READS), _zipf(draw, 0.6, 60_000, READS))


def scan() -> Workload:
    """A steady shop, and a job that goes through everything, key after key, again and again."""
    draw = np.random.default_rng(13)
    at = _evenly(draw, READS)
    key = _zipf(draw, 1.0, 20_000, READS)
    is_scan = draw.random(READS) < 0.4
    key[is_scan] = 20_000 + np.arange(int(is_scan.sum())) % 45_000
    return _made("scan", draw, at, key)


def daily() -> Workload:
    """Quiet and busy hours, and other things are asked for in the morning than at night."""
    draw = np.random.default_rng(14)
    wanted = READS * 2
    at = np.sort(draw.random(wanted) * SECONDS)
    busy = 0.55 - 0.45 * np.cos(2 * np.pi * at / SECONDS)
    at = at[draw.random(wanted) < busy][:READS]
    key = (_zipf(draw, 0.9, 40_000, len(at)) + (at / SECONDS * 4).astype(np.int64) * 7_000) % 60_000
    return _made("daily rhythm", draw, at, key)


def written() -> Workload:
    """Every fifth statement writes; some tables are written all the time, some hardly ever."""
    draw = np.random.default_rng(15)
    writes = READS // 5
    table = _zipf(draw, 1.6, 12, writes)
    return _made(
        *("write-heavy", draw, _evenly(draw, READS), _zipf(draw, 1.0, 40_000, READS)),
        write_at=_evenly(draw, writes),
        write_table=table,
    )


def bursts() -> Workload:
    """Something is on everybody's lips for a minute, and then no more."""
    draw = np.random.default_rng(16)
    at = _evenly(draw, READS)
    key = _zipf(draw, 0.8, 40_000, READS)
    burst = (at // 45).astype(np.int64)
    in_burst = draw.random(READS) < 0.5
    key[in_burst] = 40_000 + burst[in_burst] * 25 + _zipf(draw, 0.8, 25, int(in_burst.sum()))
    return _made("bursts", draw, at, key)


def tenants() -> Workload:
    """Three thousand customers of very unlike size, each with its own keys."""
    draw = np.random.default_rng(17)
    tenant = _zipf(draw, 1.2, 3_000, READS)
    key = tenant * 60 + _zipf(draw, 0.7, 60, READS)
    _, key = np.unique(key, return_inverse=True)
    return _made("many tenants", draw, _evenly(draw, READS), key.reshape(-1), templates=40)


WORKLOADS: Final[tuple[Callable[[], Workload], ...]] = (
    *(steep, flat, scan, daily, written, bursts, tenants),
)
