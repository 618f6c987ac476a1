"""Hit ratio over time to live and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.cache_advice.assumptions import Assumptions
from otel_ratelimit.cache_advice.entry_memory import table_bytes
from otel_ratelimit.cache_advice.eviction import CLOCK_SECONDS, simulated_hit_ratio
from otel_ratelimit.cache_advice.replay_trace import Trace
from otel_ratelimit.cache_advice.result import AtTtl, Surface

MAX_MEMORIES: Final = 6
_TTLS: Final = (60, 300, 3_600, 86_400)
_LEAST_BYTES: Final = 1e6


def hit_ratio_with_memory(
    trace: Trace,
    at: AtTtl,
    memory_bytes: float,
    assumed: Assumptions,
    *,
    clock_seconds: float = CLOCK_SECONDS,
) -> float:
    """Of a cache with that much memory: what it has without a limit, less what the limit costs in a play.

    Args:
        trace: a part of the day.
        at: the cache without a limit.
        memory_bytes: for entries and hash tables.
        assumed: of the engine.
        clock_seconds: how finely the engine tells idle times apart.
    """
    return _with_memories(_with_tables(trace, assumed), at, [memory_bytes], clock_seconds)[0]


def hit_ratio_surface(trace: Trace, by_ttl: Sequence[AtTtl], assumed: Assumptions) -> Surface | None:
    """For a few TTLs, and memories up to what the longest needs; None where that is next to nothing."""
    chosen = [at for at in by_ttl if at.ttl_seconds in _TTLS] or list(by_ttl)
    most = max((at.peak_bytes for at in chosen), default=0.0)
    memories = round_steps(_LEAST_BYTES, most)
    if not memories:
        return None
    sized = _with_tables(trace, assumed)
    return Surface(
        ttl_seconds=tuple(at.ttl_seconds for at in chosen),
        memory_bytes=tuple(memories),
        hit_ratio=tuple(tuple(_with_memories(sized, at, memories, CLOCK_SECONDS)) for at in chosen),
    )


def _with_memories(sized: Trace, at: AtTtl, memories: Sequence[float], clock_seconds: float) -> list[float]:
    if min(memories) >= at.peak_bytes:
        return [at.hit_ratio] * len(memories)

    def played(memory_bytes: float) -> float:
        return simulated_hit_ratio(sized, at.ttl_seconds, memory_bytes, clock_seconds=clock_seconds)

    free = played(float("inf"))
    return [
        at.hit_ratio
        if memory_bytes >= at.peak_bytes
        else max(at.hit_ratio - max(free - played(memory_bytes), 0.0), 0.0)
        for memory_bytes in memories
    ]


def round_steps(least: float, most: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `least` to just above `most`; the largest few of them."""
    steps: list[float] = []
    power = least
    while most > 0.0:
        for step in (power, 2 * power, 5 * power):
            steps.append(step)
            if step >= most:
                return steps[-MAX_MEMORIES:]
        power *= 10
    return steps


def _with_tables(trace: Trace, assumed: Assumptions) -> Trace:
    """Each entry with its part of the hash tables."""
    keys = float(trace.weight.sum())
    part = table_bytes(assumed.engine, round(keys), allocator=assumed.allocator) / keys if keys else 0.0
    return trace._replace(size=trace.size + part)
