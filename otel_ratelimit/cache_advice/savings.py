"""The time that caching saves, and what that time is worth; by template and TTL."""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.core.cache_assumptions import Assumptions

_GB_HOUR: Final = 3_600 * 1e9
_US: Final = 1_000.0


def saved_ms(executions: Floats, hits: Floats, hit_us: Floats, assumptions: Assumptions) -> Floats:
    """Milliseconds that executions take less; negative where asking and filling the cache takes longer.

    Args:
        executions: by template.
        hits: how many of them are hits, by template and TTL.
        hit_us: time that the database took for the hits.
        assumptions: how long a lookup and a store take.
    """
    misses = executions[:, None] - hits
    asked = hits * assumptions.lookup_ms + misses * (assumptions.lookup_ms + assumptions.store_ms)
    return hit_us / _US - asked


def worth(saved: Floats, hit_us: Floats, byte_seconds: Floats, assumptions: Assumptions) -> Floats:
    """In money if anything has a price, else in milliseconds.

    Args:
        saved: milliseconds that executions take less.
        hit_us: time for which the database is not busy.
        byte_seconds: memory, times how long it is held.
        assumptions: what time and memory are worth.
    """
    if not assumptions.has_value:
        return saved
    return (
        assumptions.value_of_saved_ms * saved
        + assumptions.value_of_database_second * hit_us / 1e6
        - assumptions.memory_gb_hour * byte_seconds / _GB_HOUR
    )


def best_worth(worths: Floats) -> Floats:
    """By template, with the TTL that brings most; 0 where no TTL brings anything."""
    return np.asarray(worths.max(axis=1, initial=0.0))
