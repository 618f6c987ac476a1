"""Options of a store's client: the time-outs that we set, the operator's options, and their validation.

`OTEL_RATELIMIT_STORAGE_OPTIONS` is passed to the client as it is (redis-py, valkey-py, pymemcache), and
overrides our own time-outs. The clients report a misspelt option late, at the first request, or not at all.
So names are looked up in the signatures of the client's classes, and one connection object is created,
without connecting, before the application starts. An option may be a password, so no message shows a value.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from limits.storage import RedisStorage, Storage

from otel_ratelimit.core.errors import Problem
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.storage.tls_storages import SENTINEL_SCHEMES

VARIABLE: Final = "OTEL_RATELIMIT_STORAGE_OPTIONS"

STORAGE_TIMEOUT_SECONDS: Final = 0.25
"""How long a request waits for a remote store, unless the operator's options say otherwise."""

_URI: Final = "name the hosts in OTEL_RATELIMIT_STORAGE_URI"
_REFUSED: Final = {
    "key_prefix": "set OTEL_RATELIMIT_KEY_PREFIX",
    "wrap_exceptions": "leave it out",
    **dict.fromkeys(("uri", "url", "host", "port", "startup_nodes", "sentinels", "unix_socket_path"), _URI),
}
"""Options that the client would accept but that would do harm, each with what to do instead."""
_NUMBERS: Final = frozenset(
    {"socket_timeout", "socket_connect_timeout", "health_check_interval", "max_connections", "timeout"}
    | {"connect_timeout", "max_pool_size", "db"}
)
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS: Final = ("ssl", "ssl_")
_CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "redis": (
        "client:Redis",
        "connection:ConnectionPool",
        "connection:Connection",
        "connection:SSLConnection",
    ),
    "valkey": (
        "client:Valkey",
        "connection:ConnectionPool",
        "connection:Connection",
        "connection:SSLConnection",
    ),
    "pymemcache": ("client.base:Client", "client.base:PooledClient", "client.hash:HashClient"),
}
"""The client's package, to the classes in it whose arguments are options."""
POOL: Final = "connection_pool"
"""The option with which an application gives a pool of its own."""
_OF_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "redis": (POOL,),
    "valkey": (POOL,),
    "pymemcache": ("library", "cluster_library", "client_getter"),
}
"""Further options, which `limits` itself accepts."""


def storage_options(uri: str | Secret, given: Mapping[str, object] | None = None) -> dict[str, object]:
    """The options of a remote store's client, chosen so that a request waits little for a store that is down.

    Args:
        uri: the store's URI.
        given: the operator's options, which override ours.
    """
    uri = Secret.of(uri).reveal()
    scheme = uri.partition("://")[0]
    given = given or {}
    client = _client_of(scheme)
    if client in {"redis", "valkey"}:
        return _redis_options(uri, scheme, given)
    if client == "pymemcache":
        ours = {"timeout": STORAGE_TIMEOUT_SECONDS, "connect_timeout": STORAGE_TIMEOUT_SECONDS}
        return {**ours, **given}
    return dict(given)


def option_problems(uri: str | Secret, given: Mapping[str, object]) -> list[Problem]:
    """The problems of the operator's options for the store at `uri`: unknown names and wrong types."""
    scheme = Secret.of(uri).reveal().partition("://")[0]
    client = _client_of(scheme)
    if not given:
        return []
    if not client:
        return [Problem(VARIABLE, f"{scheme}:// takes no options", "leave it unset")]
    known = _known_options(client, scheme)
    problems = [*_wrong(given, known, "")]
    if "sentinel_kwargs" in given and scheme.endswith("+sentinel"):
        of_sentinel = given["sentinel_kwargs"]
        if isinstance(of_sentinel, Mapping):
            problems += _wrong(of_sentinel, _known_options(client, client), "sentinel_kwargs.")
        else:
            problems.append(Problem(VARIABLE, "sentinel_kwargs is not an object", 'write {"password": …}'))
    return problems


def connection_problem(storage: Storage, given: Mapping[str, object]) -> Problem | None:
    """Why the client rejects the options, found by creating a connection object without connecting."""
    if not given or not isinstance(storage, RedisStorage):
        return None
    for pool in _pools(storage):
        try:
            pool.connection_class(**pool.connection_kwargs)
        except Exception as error:  # noqa: BLE001 - any error here would occur in every request
            return refused_options(given, error)
    return None


def refused_options(given: Mapping[str, object], error: Exception) -> Problem:
    """The problem when the client rejects the options, without the values that its message may hold."""
    text = str(error)
    named = [name for name in given if name in text] or list(given)
    what = f"the client refuses {', '.join(named)} ({type(error).__name__})"
    return Problem(VARIABLE, what, "see the client's documentation")


def _client_of(scheme: str) -> str:
    """The client's package for a scheme; empty if the scheme needs no client."""
    for begins, client in (("redis", "redis"), ("valkey", "valkey"), ("memcached", "pymemcache")):
        if scheme.startswith(begins):
            return client
    return ""


def _redis_options(uri: str, scheme: str, given: Mapping[str, object]) -> dict[str, object]:
    once: dict[str, object] = {
        "socket_timeout": STORAGE_TIMEOUT_SECONDS,
        "socket_connect_timeout": STORAGE_TIMEOUT_SECONDS,
        "retry": None,
    }
    if scheme.endswith("+cluster"):
        # Without this, the clients ask a silent node up to ten times, which takes seconds. The valkey client
        # and redis before 6 know this name only; later versions of redis still accept it.
        return {**once, "cluster_error_retry_attempts": 0, **_login(uri), **given}
    if scheme.endswith("+sentinel"):
        # `limits` passes none of these options to the sentinels, and would wait for a silent one for ever.
        of_sentinel = given.get("sentinel_kwargs")
        tls = {name: value for name, value in given.items() if name.startswith(_TLS)}
        sentinels = {
            **once,
            **(tls if scheme in SENTINEL_SCHEMES else {}),
            **(of_sentinel if isinstance(of_sentinel, Mapping) else {}),
        }
        return {**once, **_login(uri), **given, "sentinel_kwargs": sentinels}
    return {**once, **given}


def _login(uri: str) -> dict[str, object]:
    """The user and password of a URI, decoded, because `limits` does not decode percent signs."""
    parts = urlsplit(uri)
    login = {"username": parts.username, "password": parts.password}
    return {name: unquote(text) for name, text in login.items() if text}


def _known_options(client: str, scheme: str) -> set[str]:
    known = set(_OF_LIMITS[client])
    for place in _CLASSES[client]:
        module, _, name = place.partition(":")
        for kind in getattr(import_module(f"{client}.{module}"), name).__mro__:
            known |= set(inspect.signature(kind.__init__).parameters)
    if scheme.endswith("+cluster"):
        # A cluster client ignores all other options silently; and a cluster has no databases.
        cluster = import_module(f"{client}.cluster")
        taken = set(getattr(cluster, f"{client.upper()}_ALLOWED_KEYS", known)) - {"db"}
        kind = getattr(cluster, f"{client.title()}Cluster")
        known = (known & taken) | set(inspect.signature(kind.__init__).parameters)
    if scheme.endswith("+sentinel"):
        known |= {"sentinel_kwargs", "service_name", "use_replicas", "min_other_sentinels"}
    return known - {"self", "args", "kwargs", "connection_kwargs"}


def _wrong(given: Mapping[Any, object], known: set[str], within: str) -> Iterator[Problem]:
    for name, value in given.items():
        if name in _REFUSED:
            yield Problem(VARIABLE, f"{within}{name} cannot be set here", _REFUSED[name])
        elif name not in known:
            near = get_close_matches(str(name), known, n=1)
            instead = f"did you mean {near[0]}?" if near else "see the client's documentation"
            yield Problem(VARIABLE, f"{within}{name} is not an option of this store's client", instead)
        elif (
            name in _NUMBERS
            and value is not None
            and (isinstance(value, bool) or not isinstance(value, int | float))
        ):
            yield Problem(VARIABLE, f"{within}{name} is not a number", "write it without quotes")
        elif name in _FILES and isinstance(value, str) and not Path(value).is_file():
            yield Problem(VARIABLE, f"the file in {within}{name} does not exist", "name a file in PEM")


def _pools(storage: RedisStorage) -> Iterator[Any]:
    client: Any = storage.get_connection()
    if hasattr(client, "connection_pool"):
        yield client.connection_pool
    for sentinel in getattr(getattr(storage, "sentinel", None), "sentinels", ()):
        yield sentinel.connection_pool
