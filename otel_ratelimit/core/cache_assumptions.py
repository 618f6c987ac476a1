"""The cache analysis's assumptions about a cache, with the defaults.

`policy/cache.py` reads these values from the policy file and `cache_advice` computes with them; neither of
the two imports the other. The price presets are in `cache_advice/prices.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Engine: TypeAlias = Literal["redis", "valkey"]
Allocator: TypeAlias = Literal["jemalloc", "jemalloc-shared", "libc"]
"""The memory allocator of the engine; `cache_advice/entry_memory.py` says what each of them rounds up to."""
PriceKind: TypeAlias = Literal["instance", "serverless", "self-hosted"]

DEFAULT_CURRENCY: Final = "USD"
"""The currency of the built-in prices."""
DEFAULT_RESERVE: Final = 0.25
"""Share of the memory that stays free, for the engine's own work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Every field can be set in the policy file, `[cache]`."""

    engine: Engine = "valkey"
    allocator: Allocator = "jemalloc"
    """Packages of Linux distributions may use another one."""
    key_bytes: int = 40
    """Length of a key in the cache: a prefix and 32 hex digits."""
    size_factor: float = 1.0
    """Size of a cached value, as a multiple of the result as PostgreSQL sent it."""
    lookup_ms: float = 0.5
    """Time to ask the cache and read its answer."""
    store_ms: float = 0.5
    """Time to put a result into the cache."""
    stale_budget: float = 0.01
    """Share of the cache's answers that may be older than a write to their tables."""
    value_of_saved_ms: float = 0.0
    """Money, for one millisecond that one execution takes less."""
    value_of_database_second: float = 0.0
    """Money, for one second that the database is not busy."""
    memory_gb_hour: float = 0.0
    """Money, for a gigabyte (10^9 bytes) for an hour; counts against a longer TTL."""

    @property
    def has_value(self) -> bool:
        """Whether saved time has a price."""
        return self.value_of_saved_ms > 0.0 or self.value_of_database_second > 0.0
