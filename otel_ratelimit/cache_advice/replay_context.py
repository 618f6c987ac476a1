"""The day that is replayed, and the cache that is replayed on it: what hot and cold replay share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.cache_advice.sampled_keys import SampledKeys
from otel_ratelimit.cache_advice.table_writes import WrittenTables


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayContext:
    """A day, and the cache that is replayed on it."""

    sampled: SampledKeys
    """Keys that are in the sample all day."""
    ttls: Sequence[int]
    """Seconds."""
    written: WrittenTables
    """When tables were written."""
    start: int
    """Unix time at which the day begins, seconds."""
    seconds: int
    """Length of the day."""
    entry_bytes: Callable[[Floats], Floats]
    """From the sizes of results to the sizes of entries."""
    mean_bytes: Floats
    """Mean size of results by template, for results that were not measured."""
