"""What caching templates saves, and what that is worth; by template and time to live."""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.core.cache_assumptions import Assumptions

_GB_HOUR: Final = 3_600 * 1e9
_US: Final = 1_000.0


def saved_ms(executions: Floats, hits: Floats, hit_us: Floats, assumed: Assumptions) -> Floats:
    """Milliseconds that executions take less; negative where asking and filling the cache takes longer.

    Args:
        executions: by template.
        hits: of them, by template and TTL.
        hit_us: time that the database took for those.
        assumed: of the cache.
    """
    misses = executions[:, None] - hits
    asked = hits * assumed.lookup_ms + misses * (assumed.lookup_ms + assumed.store_ms)
    return hit_us / _US - asked


def worth(saved: Floats, hit_us: Floats, byte_seconds: Floats, assumed: Assumptions) -> Floats:
    """In money if anything has a price, else in milliseconds.

    Args:
        saved: milliseconds that executions take less.
        hit_us: time for which the database is not busy.
        byte_seconds: memory for as long as it is held.
        assumed: of the cache, and of what time is worth.
    """
    if not assumed.has_value:
        return saved
    return (
        assumed.value_of_saved_ms * saved
        + assumed.value_of_database_second * hit_us / 1e6
        - assumed.memory_gb_hour * byte_seconds / _GB_HOUR
    )


def most(worths: Floats) -> Floats:
    """By template, with the TTL that brings most; nothing where none brings anything."""
    return np.asarray(worths.max(axis=1, initial=0.0))
