"""The hit ratio by TTL and memory, where the engine evicts entries for lack of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.cache_advice.entry_memory import table_bytes
from otel_ratelimit.cache_advice.eviction import CLOCK_SECONDS, simulated_hit_ratio
from otel_ratelimit.cache_advice.replay_trace import Trace
from otel_ratelimit.cache_advice.result import AtTtl, Surface
from otel_ratelimit.core.cache_assumptions import Assumptions

MAX_MEMORIES: Final = 6
_TTLS: Final = (60, 300, 3_600, 86_400)
_MIN_BYTES: Final = 1e6


def hit_ratio_surface(trace: Trace, by_ttl: Sequence[AtTtl], assumptions: Assumptions) -> Surface | None:
    """For a few TTLs, and memories up to the need of the longest; None where hardly any memory is needed."""
    chosen = [at for at in by_ttl if at.ttl_seconds in _TTLS] or list(by_ttl)
    most = max((at.peak_bytes for at in chosen), default=0.0)
    memories = round_steps(_MIN_BYTES, most)
    if not memories:
        return None
    return Surface(
        ttl_seconds=tuple(at.ttl_seconds for at in chosen),
        memory_bytes=tuple(memories),
        hit_ratio=tuple(tuple(hit_ratios_with_memory(trace, at, memories, assumptions)) for at in chosen),
    )


def hit_ratios_with_memory(
    trace: Trace,
    at: AtTtl,
    memories: Sequence[float],
    assumptions: Assumptions,
    *,
    clock_seconds: float = CLOCK_SECONDS,
) -> list[float]:
    """The hit ratio without a limit, less the loss that each limit causes in a simulation of the engine.

    Args:
        trace: a part of the day.
        at: the cache without a limit.
        memories: limits to try, bytes for entries and hash tables; at least one.
        assumptions: name the engine and its allocator.
        clock_seconds: resolution at which the engine measures idle times.
    """
    if min(memories) >= at.peak_bytes:
        return [at.hit_ratio] * len(memories)
    sized = _with_tables(trace, assumptions)

    def simulated(memory_bytes: float) -> float:
        return simulated_hit_ratio(sized, at.ttl_seconds, memory_bytes, clock_seconds=clock_seconds)

    unlimited = simulated(float("inf"))
    return [
        at.hit_ratio
        if memory_bytes >= at.peak_bytes
        else max(at.hit_ratio - max(unlimited - simulated(memory_bytes), 0.0), 0.0)
        for memory_bytes in memories
    ]


def round_steps(least: float, most: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `least` to just above `most`; only the largest `MAX_MEMORIES`."""
    steps: list[float] = []
    power = least
    while most > 0.0:
        for step in (power, 2 * power, 5 * power):
            steps.append(step)
            if step >= most:
                return steps[-MAX_MEMORIES:]
        power *= 10
    return steps


def _with_tables(trace: Trace, assumptions: Assumptions) -> Trace:
    """The trace, with each entry's part of the hash tables added to its size."""
    keys = float(trace.weight.sum())
    if not keys:
        return trace
    tables = table_bytes(assumptions.engine, round(keys), allocator=assumptions.allocator)
    return trace._replace(size=trace.size + tables / keys)
