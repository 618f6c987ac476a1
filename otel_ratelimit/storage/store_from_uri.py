"""Which storage URIs are valid, and which `CounterStore` belongs to which storage."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

from limits.storage import RedisStorage, Storage

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import CounterStore
from otel_ratelimit.core.errors import Problem
from otel_ratelimit.core.secret import Redactor, Secret
from otel_ratelimit.core.storage_uri import redact_uri, secrets_in
from otel_ratelimit.storage.any_limits_storage import SequentialStore
from otel_ratelimit.storage.bounded_memory import SCHEME
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.redis import RedisStore
from otel_ratelimit.storage.tls_storages import CLUSTER_SCHEMES, SENTINEL_SCHEMES

VARIABLE: Final = "OTEL_RATELIMIT_STORAGE_URI"

_CLIENTS: Final[Mapping[str, tuple[str, str]]] = {
    "redis": ("redis", "redis"),
    "valkey": ("valkey", "redis"),
    "memcached": ("pymemcache", "memcached"),
}
"""Family of schemes to the module of its client and the extra that installs it."""
_SCHEMES: Final = {
    SCHEME: "",
    "memory": "",
    "memcached": "memcached",
    **{
        f"{family}{suffix}": family
        for family in ("redis", "valkey")
        for suffix in ("", "s", "+sentinel", "+cluster", "+unix")
    },
    **{scheme: scheme.partition("s+")[0] for scheme in (*CLUSTER_SCHEMES, *SENTINEL_SCHEMES)},
}
_SEVERAL_HOSTS: Final = ("+cluster", "+sentinel")
"""How schemes end whose URI may name several hosts, each with a port."""


def validate_uri(given: str | Secret) -> list[Problem]:
    """The problems of a storage URI; empty if it is valid."""
    uri = Secret.of(given).reveal()
    scheme, separator, _ = uri.partition("://")
    family = _SCHEMES.get(scheme) if separator else None
    if family is None:
        return [Problem(VARIABLE, f"{redact_uri(uri)!r} names no known store", _instead_of(scheme))]
    if not family:
        return []
    problems = []
    module, extra = _CLIENTS[family]
    if importlib.util.find_spec(module) is None:
        problems.append(
            Problem(VARIABLE, f"{scheme}:// needs {module}", f'pip install "otel-ratelimit[{extra}]"')
        )
    missing = _missing(uri, scheme)
    if missing:
        problems.append(Problem(VARIABLE, f"{redact_uri(uri)!r} {missing}", f"write {_form(scheme)}"))
    return problems


def refused_uri(uri: Secret, error: Exception) -> Problem:
    """The problem when the client rejects a URI that `validate_uri` accepts, without the URI's secrets."""
    said = Redactor(secrets_in(uri))(str(error))
    return Problem(VARIABLE, f"the client refuses {uri}: {said}", "see the client's documentation")


def _instead_of(scheme: str) -> str:
    known = sorted(_SCHEMES)
    nearest = get_close_matches(scheme.lower(), known, n=1)
    listed = f"use one of {', '.join(f'{name}://' for name in known)}"
    return f"did you mean {nearest[0]}://? Or {listed}" if nearest else listed


def _missing(uri: str, scheme: str) -> str:
    """The part that is missing in the URI behind its scheme; empty if nothing is missing."""
    try:
        parts = urlsplit(uri)
        hosts = _hosts(parts.netloc)
    except ValueError:
        return "has no valid host and port (in a password write / ? # @ as %2F %3F %23 %40)"
    if scheme.endswith("+unix"):
        return "" if parts.path else "names no socket"
    if not hosts:
        return "" if scheme == "memcached" and parts.path else "names no host"
    if scheme.endswith("+sentinel") and not parts.path.strip("/"):
        return "does not say which master the sentinels watch"
    return _wrong_hosts(hosts, scheme)


def _hosts(netloc: str) -> list[tuple[str | None, int | None]]:
    hosts = [urlsplit(f"//{host.strip()}") for host in netloc.rpartition("@")[2].split(",")]
    return [(host.hostname, host.port) for host in hosts if host.netloc]


def _named_hosts(uri: str) -> list[tuple[str, int]]:
    """The hosts of `uri` that have a port."""
    return [(host, port) for host, port in _hosts(urlsplit(uri).netloc) if host and port]


def _wrong_hosts(hosts: list[tuple[str | None, int | None]], scheme: str) -> str:
    family = _SCHEMES[scheme]
    if scheme.endswith(_SEVERAL_HOSTS) or family == "memcached":
        return "" if all(host and port for host, port in hosts) else "has a host without a port"
    return f"names several hosts; only {family}+cluster:// and +sentinel:// do" if len(hosts) > 1 else ""


def _form(scheme: str) -> str:
    """The form of a URI with this scheme."""
    if scheme.endswith("+unix"):
        return f"{scheme}:///path/to/the/socket"
    if scheme.endswith("+cluster"):
        return f"{scheme}://host1:port,host2:port"
    return f"{scheme}://host:port" + ("/master" if scheme.endswith("+sentinel") else "")


def counter_store(storage: Storage, given: str | Secret, clock: Clock) -> CounterStore:
    """The store that decides for all windows in one call, on a storage that `limits` has opened."""
    if isinstance(storage, BoundedMemoryStorage):
        return storage.counters
    uri = Secret.of(given).reveal()
    if isinstance(storage, RedisStorage):
        return RedisStore(storage, _named_hosts(uri))
    return SequentialStore(storage, uri.partition("://")[0], clock)
