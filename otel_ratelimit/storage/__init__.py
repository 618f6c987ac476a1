"""Counter stores: in this process, or in a server that several processes share.

A `...Store` is a `CounterStore` (`core/counter_store.py`): it decides a request for all its windows in one
call. A `...Storage` is a storage of the `limits` library, as Flask-Limiter opens it by its URI.

store_from_uri.py       which URIs are valid, and which store belongs to which
client_options.py       time-outs and other options of the clients of Redis, Valkey and memcached
tls_storages.py         schemes for TLS to clusters and Sentinel
redis.py, take.lua      counters in Redis and Valkey
any_limits_storage.py   counters in memcached and any other storage of `limits`
circuit_breaker.py      what happens while a store fails, and for how long
server_errors.py        which errors open the circuit breaker
key_namespace.py        how services that share a store are kept apart
counters_by_user.py     how many counters each user has
health.py               how full the store is; default_store.py finds the store to ask
memory_log.py           log lines about it

The store in this process, `bounded-memory://`:
bounded_memory.py       the idea, and how a request is counted
limits_adapter.py       the same store as a storage of `limits`
sharded_table.py        the counters of one limit, and when a shard splits
strategies.py           how fixed, sliding and moving windows count
clock_set_back.py       what happens to counters that lie in the future
counter_keys.py         what counters are stored under
memory_budget.py        how much memory is in use, and how much each network may have
overflow.py             where clients are counted when the store is full
sender_networks.py      networks of clients whose key does not contain one
sweeper.py              how expired counters are removed
"""

from otel_ratelimit.core.storage_uri import redact_uri
from otel_ratelimit.storage.circuit_breaker import CircuitBreaker
from otel_ratelimit.storage.client_options import storage_options
from otel_ratelimit.storage.health import (
    KeyDistribution,
    MemoryHealth,
    check_memory_health,
    get_active_keys,
    get_key_distribution,
    get_storage_size,
)
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.memory_log import MemoryHealthLog
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
