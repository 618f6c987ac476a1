"""What the analysis supposes of the cache, and what its answers are worth."""

from __future__ import annotations

from dataclasses import dataclass

from otel_ratelimit.cache_advice.entry_memory import Allocator, Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """All of it can be set in the policy file, `[cache]`."""

    engine: Engine = "valkey"
    allocator: Allocator = "jemalloc"
    """What the engine takes its memory from; packages of distributions may differ."""
    key_bytes: int = 40
    """Length of a key in the cache: a prefix and 32 hex digits."""
    size_factor: float = 1.0
    """Size of a cached value, as a multiple of the result as PostgreSQL sent it."""
    lookup_ms: float = 0.5
    """To ask the cache and read its answer."""
    store_ms: float = 0.5
    """To put a result into the cache."""
    stale_budget: float = 0.01
    """Share of the cache's answers that may be older than a write to their tables."""
    value_of_saved_ms: float = 0.0
    """Money, of one millisecond that one execution takes less."""
    value_of_database_second: float = 0.0
    """Money, of one second that the database is not busy."""
    memory_gb_hour: float = 0.0
    """Money, of a gigabyte (10^9 bytes) for an hour; counts against a longer time to live."""

    @property
    def has_value(self) -> bool:
        """Whether saved time has a price."""
        return self.value_of_saved_ms > 0.0 or self.value_of_database_second > 0.0
