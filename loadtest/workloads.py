"""Days of queries with different patterns, to compare predictions of the analysis with real engines.

Each is a trace: which key was read when, with which template and result. All are drawn from seeds, so that
every run has the same traces. Times are seconds from the day's beginning; a "day" here is two hours. `scale`
multiplies keys and reads alike, so that each key is read as often as before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SECONDS: Final = 7_200
READS: Final = 400_000
"""Reads at scale 1; a workload then has tens of thousands of keys."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workload:
    """A trace of reads by time, and of writes by time."""

    name: str
    at: Floats
    key: Ints
    template: Ints
    """Template number of each key; its table has the same number."""
    size: Ints
    """Bytes of the key's result, by key."""
    duration_us: Floats
    """Duration of each read."""
    write_at: Floats
    write_table: Ints


def _times(scale: float, *numbers: int) -> tuple[int, ...]:
    return tuple(round(scale * number) for number in numbers)


def _zipf(draw: np.random.Generator, skew: float, keys: int, reads: int) -> Ints:
    weights = 1.0 / np.arange(1, keys + 1) ** skew
    edges = np.cumsum(weights)
    return np.searchsorted(edges, draw.random(reads) * edges[-1]).astype(np.int64)


def _evenly(draw: np.random.Generator, reads: int) -> Floats:
    return np.sort(draw.random(reads) * SECONDS)


def _made(
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
        # Results have 100 bytes to some kilobytes; most are small.
        np.minimum(np.exp(draw.normal(6.5, 0.8, keys)), 20_000).astype(np.int64) + 60,
        np.exp(draw.normal(7.3, 0.6, len(key))),
        none if write_at is None else write_at,
        none.astype(np.int64) if write_table is None else write_table,
    )


def steep(scale: float = 1.0) -> Workload:
    """A shop: a few pages are read all the time."""
    draw = np.random.default_rng(11)
    reads, keys = _times(scale, READS, 60_000)
    return _made("steep Zipf", draw, _evenly(draw, reads), _zipf(draw, 1.1, keys, reads))


def flat(scale: float = 1.0) -> Workload:
    """An archive: nearly everything is read now and then."""
    draw = np.random.default_rng(12)
    reads, keys = _times(scale, READS, 60_000)
    return _made("flat Zipf", draw, _evenly(draw, reads), _zipf(draw, 0.6, keys, reads))


def scan(scale: float = 1.0) -> Workload:
    """A steady shop, and a job that repeatedly scans everything, key after key."""
    draw = np.random.default_rng(13)
    reads, keys, scanned = _times(scale, READS, 20_000, 45_000)
    at = _evenly(draw, reads)
    key = _zipf(draw, 1.0, keys, reads)
    is_scan = draw.random(reads) < 0.4
    key[is_scan] = keys + np.arange(int(is_scan.sum())) % scanned
    return _made("scan", draw, at, key)


def daily(scale: float = 1.0) -> Workload:
    """Quiet and busy hours; the keys read in the morning differ from those read at night."""
    draw = np.random.default_rng(14)
    wanted, often, moved, keys = _times(scale, READS * 2, 40_000, 7_000, 60_000)
    at = np.sort(draw.random(wanted) * SECONDS)
    busy = 0.55 - 0.45 * np.cos(2 * np.pi * at / SECONDS)
    at = at[draw.random(wanted) < busy][: wanted // 2]
    key = (_zipf(draw, 0.9, often, len(at)) + (at / SECONDS * 4).astype(np.int64) * moved) % keys
    return _made("daily rhythm", draw, at, key)


def written(scale: float = 1.0) -> Workload:
    """One statement in five writes; some tables are written all the time, some hardly ever."""
    draw = np.random.default_rng(15)
    reads, keys = _times(scale, READS, 40_000)
    writes = reads // 5
    table = _zipf(draw, 1.6, 12, writes)
    return _made(
        *("write-heavy", draw, _evenly(draw, reads), _zipf(draw, 1.0, keys, reads)),
        write_at=_evenly(draw, writes),
        write_table=table,
    )


def bursts(scale: float = 1.0) -> Workload:
    """Some keys are very popular for a minute, and then never read again."""
    draw = np.random.default_rng(16)
    reads, keys, wanted = _times(scale, READS, 40_000, 25)
    at = _evenly(draw, reads)
    key = _zipf(draw, 0.8, keys, reads)
    burst = (at // 45).astype(np.int64)
    in_burst = draw.random(reads) < 0.5
    key[in_burst] = keys + burst[in_burst] * wanted + _zipf(draw, 0.8, wanted, int(in_burst.sum()))
    return _made("bursts", draw, at, key)


def tenants(scale: float = 1.0) -> Workload:
    """Three thousand customers of very different sizes, each with its own keys."""
    draw = np.random.default_rng(17)
    reads, customers = _times(scale, READS, 3_000)
    tenant = _zipf(draw, 1.2, customers, reads)
    key = tenant * 60 + _zipf(draw, 0.7, 60, reads)
    _, key = np.unique(key, return_inverse=True)
    return _made("many tenants", draw, _evenly(draw, reads), key.reshape(-1), templates=40)


WORKLOADS: Final[tuple[Callable[[float], Workload], ...]] = (
    *(steep, flat, scan, daily, written, bursts, tenants),
)
