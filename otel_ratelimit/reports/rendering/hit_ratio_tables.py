"""Hit ratio by TTL, and by TTL and memory, as tables of strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_ratelimit.cache_advice.result import AtTtl, CacheAnalysis
from otel_ratelimit.reports.rendering import formatting

_A_HIT: Final = 0.5
"""A smaller sum is a rounding error."""


@dataclass(frozen=True, slots=True)
class TtlRow:
    """The figures where all queries go through a cache with one TTL."""

    ttl: str
    hit_ratio: str
    dropped: str
    """The hit ratio that is left where writes drop cached answers, at least and at most."""
    stale: str
    memory: str
    saves: str
    percent: int
    """The hit ratio, for bars."""


@dataclass(frozen=True, slots=True)
class SurfaceCell:
    """Hit ratio with one TTL and one size."""

    text: str
    tenths: int
    """The hit ratio in tenths, 0 to 10, for colours."""


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """Hit ratio by TTL (rows) and memory (columns), where more memory brings more."""

    memories: tuple[str, ...]
    rows: tuple[tuple[str, tuple[SurfaceCell, ...]], ...]


def has_hits(analysis: CacheAnalysis) -> bool:
    """Whether there is a TTL with which a cache would have answered anything."""
    return any(at.hits >= _A_HIT for at in analysis.by_ttl)


def ttl_rows(analysis: CacheAnalysis) -> list[TtlRow]:
    """A row for each TTL; none where a cache would have answered nothing."""
    if not has_hits(analysis):
        return []
    saves = formatting.durations([at.latency_saved_ms for at in analysis.by_ttl])
    return [_ttl_row(at, saved) for at, saved in zip(analysis.by_ttl, saves, strict=True)]


def _ttl_row(at: AtTtl, saves: str) -> TtlRow:
    least, most = formatting.share(at.hit_ratio_dropped), formatting.share(at.hit_ratio_dropped_by_row)
    return TtlRow(
        ttl=formatting.ttl(at.ttl_seconds),
        hit_ratio=formatting.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high),
        dropped=least if least == most else f"{least.removesuffix(' %')} to {most}",
        stale=formatting.share(at.stale_by_table),
        memory=formatting.size(at.peak_bytes),
        saves=saves,
        percent=round(100 * min(max(at.hit_ratio, 0.0), 1.0)),
    )


def until_plateau(rows: Sequence[TtlRow], shown: Callable[[TtlRow], tuple[str, ...]]) -> tuple[TtlRow, ...]:
    """Leave out the last rows if they show the same as the one before them, which then stands for all.

    Args:
        rows: by TTL.
        shown: the cells of a row that are shown.
    """
    end = len(rows)
    while end > 1 and shown(rows[end - 1]) == shown(rows[end - 2]):
        end -= 1
    if end == len(rows):
        return tuple(rows)
    return (*rows[: end - 1], replace(rows[end - 1], ttl=f"{rows[end - 1].ttl} and longer"))


def all_figures(row: TtlRow) -> tuple[str, ...]:
    """The figures of a row, for `until_plateau`."""
    return (row.hit_ratio, row.dropped, row.stale, row.memory, row.saves)


def surface_table(analysis: CacheAnalysis) -> SurfaceTable | None:
    """Hit ratio by TTL and memory; None where more memory changes nothing."""
    surface = analysis.surface
    if surface is None or not has_hits(analysis):
        return None
    rows = tuple(
        (formatting.ttl(seconds), tuple(_cell(ratio) for ratio in ratios))
        for seconds, ratios in zip(surface.ttl_seconds, surface.hit_ratio, strict=True)
    )
    if all(len({cell.text for cell in cells}) <= 1 for _, cells in rows):
        return None
    return SurfaceTable(
        memories=tuple(formatting.size(memory).replace(".0 ", " ") for memory in surface.memory_bytes),
        rows=rows,
    )


def _cell(ratio: float) -> SurfaceCell:
    return SurfaceCell(formatting.share(ratio), round(10 * min(max(ratio, 0.0), 1.0)))
