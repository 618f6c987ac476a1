"""What a storage URI must say, what it is opened with, and which `CounterStore` goes with what was opened."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from limits.storage import RedisStorage, Storage

from otel_ratelimit.errors import Problem
from otel_ratelimit.events import Clock, CounterStore
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStorage
from otel_ratelimit.storage.counters import SCHEME
from otel_ratelimit.storage.redis import RedisCounters
from otel_ratelimit.storage.remote import SequentialCounters
from otel_ratelimit.thresholds import STORAGE_TIMEOUT_SECONDS

VARIABLE: Final = "OTEL_RATELIMIT_STORAGE_URI"

_CLIENTS: Final[Mapping[str, tuple[str, str]]] = {
    "redis": ("redis", "redis"),
    "valkey": ("valkey", "redis"),
    "memcached": ("pymemcache", "memcached"),
}
"""Family of schemes to the client's module and the extra that brings it."""
_SCHEMES: Final = {
    SCHEME: "",
    "memory": "",
    "memcached": "memcached",
    **{
        f"{family}{suffix}": family
        for family in ("redis", "valkey")
        for suffix in ("", "s", "+sentinel", "+cluster", "+unix")
    },
}
_PASSWORD: Final = re.compile(r"(?<=://)[^/@]*@")


def redact_uri(uri: str) -> str:
    """The URI without user and password, fit for a log."""
    return _PASSWORD.sub("***@", uri)


def validate_uri(uri: str) -> list[Problem]:
    """What is wrong with a storage URI; empty when nothing is."""
    scheme, separator, _ = uri.partition("://")
    family = _SCHEMES.get(scheme) if separator else None
    if family is None:
        return [
            Problem(
                VARIABLE,
                f"{redact_uri(uri)!r} names no known store",
                f"use one of {', '.join(f'{name}://' for name in sorted(_SCHEMES))}",
            )
        ]
    if not family:
        return []
    problems = []
    module, extra = _CLIENTS[family]
    if importlib.util.find_spec(module) is None:
        problems.append(
            Problem(VARIABLE, f"{scheme}:// needs {module}", f'pip install "otel-ratelimit[{extra}]"')
        )
    parts = urlsplit(uri)
    if not parts.netloc.rpartition("@")[2] and not scheme.endswith("+unix"):
        problems.append(
            Problem(VARIABLE, f"{redact_uri(uri)!r} names no host", f"write {scheme}://host:port")
        )
    return problems


def storage_options(uri: str) -> dict[str, object]:
    """What a remote store's client is made with, so that a store that is away costs a request little."""
    scheme = uri.partition("://")[0]
    family = _SCHEMES.get(scheme)
    if family in {"redis", "valkey"}:
        options: dict[str, object] = {
            "socket_timeout": STORAGE_TIMEOUT_SECONDS,
            "socket_connect_timeout": STORAGE_TIMEOUT_SECONDS,
            "retry": None,
        }
        if scheme.endswith("+cluster"):
            # Else the clients ask a node that is silent up to ten times, for seconds. The valkey client and
            # redis before 6 know this name only; later ones still take it.
            options["cluster_error_retry_attempts"] = 0
        return options
    if family == "memcached":
        return {"timeout": STORAGE_TIMEOUT_SECONDS, "connect_timeout": STORAGE_TIMEOUT_SECONDS}
    return {}


def counter_store(storage: Storage, uri: str, clock: Clock) -> CounterStore:
    """The store that decides for all windows in one call, over what `limits` has opened."""
    if isinstance(storage, BoundedMemoryStorage):
        return storage.counters
    if isinstance(storage, RedisStorage):
        return RedisCounters(storage)
    return SequentialCounters(storage, uri.partition("://")[0], clock)
