"""What the play-backs of a day have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.cache_advice.sampled_keys import SampledKeys
from otel_ratelimit.cache_advice.table_writes import WrittenTables


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayContext:
    """A day, and the cache that is played on it."""

    sampled: SampledKeys
    """Which keys are in the sample."""
    ttls: Sequence[int]
    """Seconds."""
    written: WrittenTables
    """When tables were written."""
    start: int
    """Unix time at which the day begins, seconds."""
    seconds: int
    """Of the day."""
    entry_bytes: Callable[[Floats], Floats]
    """From the size of results to that of entries."""
    mean_bytes: Floats
    """Of results by template, for those not measured."""
