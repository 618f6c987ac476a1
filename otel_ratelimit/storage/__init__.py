"""Where counters live: in this process, or in a store that several processes share."""

from otel_ratelimit.core.storage_uri import redact_uri
from otel_ratelimit.storage.circuit_breaker import CircuitBreaker
from otel_ratelimit.storage.client_options import storage_options
from otel_ratelimit.storage.health import (
    KeyDistribution,
    MemoryHealth,
    MemoryHealthLog,
    check_memory_health,
    get_active_keys,
    get_key_distribution,
    get_storage_size,
)
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.store_from_uri import counter_store, refused_uri, validate_uri

__all__ = [
    "BoundedMemoryStorage",
    "CircuitBreaker",
    "KeyDistribution",
    "MemoryHealth",
    "MemoryHealthLog",
    "check_memory_health",
    "counter_store",
    "get_active_keys",
    "get_key_distribution",
    "get_storage_size",
    "redact_uri",
    "refused_uri",
    "storage_options",
    "validate_uri",
]
