"""Whether an error of a counter store concerns all requests, or only the request that met it.

The reply of a server to a failed command begins with a code (RESP, "Simple errors"). Some codes are states of
the server: it has become a replica, it loads its data, its password was changed. Then every request fails,
and the next attempt needs a new connection, because the host name may lead to another server by now. All
other codes concern one request: a key of the wrong type belongs to one client, and a server whose memory is
full rejects new counters but goes on with existing ones.

An error that is not a reply (a time-out, a rejected connection) is a state of the server too.

The clients (redis-py, valkey-py) turn some codes into exception classes and remove the code from the message;
which codes depends on the release. So classes and messages are both read. Servers before Redis 7 put the code
of an error in a script behind `Error running script (call to f_…): @user_script:`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class StoreFailure:
    """The meaning of an error of the store's client."""

    error_type: str
    """One of a few words, safe as a metric attribute."""
    concerns_all: bool
    """Whether every request would fail now, so that the circuit breaker must open."""
    answered: bool = False
    """Whether the server replied, so that it works."""


_STATES: Final = {
    "READONLY": "readonly",
    "UNBLOCKED": "readonly",
    "LOADING": "loading",
    "MASTERDOWN": "master_down",
    "CLUSTERDOWN": "cluster",
    "NOREPLICAS": "no_replicas",
    "MISCONF": "persistence",
    "BUSY": "busy",
    "NOAUTH": "authentication",
    "WRONGPASS": "authentication",
    "DENIED": "authentication",
    "NOPERM": "permission",
}
"""Codes of a server, or of a connection to it, with which no request can be counted."""

_OF_ONE_REQUEST: Final = {
    "WRONGTYPE": "wrong_type",
    "OOM": "oom",
    "MOVED": "cluster",
    "ASK": "cluster",
    "TRYAGAIN": "cluster",
    "CROSSSLOT": "cluster",
}
"""Codes of a server that still counts other requests."""

_TEXTS_OF_STATES: Final = (
    ("max number of clients", "max_clients"),
    ("previous master is now a slave", "readonly"),
)
_TEXTS_OF_ONE_REQUEST: Final = (
    ("too many connections", "pool_exhausted"),
    ("no connection available", "pool_exhausted"),
    ("unknown command", "unsupported"),
    ("user_script", "bad_value"),
    ("not an integer", "bad_value"),
    ("would overflow", "bad_value"),
    ("out of memory", "oom"),
)
"""Parts of messages, in lower case, behind the code `ERR` or in an error without a code."""

_CODE_OF_CLASS: Final = {
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "OutOfMemoryError": "OOM",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "TryAgainError": "TRYAGAIN",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "ClusterCrossSlotError": "CROSSSLOT",
}
"""Exception classes whose messages do not contain the code any more."""

_UNANSWERED: Final = (
    ("timeout", "timeout"),
    ("auth", "authentication"),
    ("slotnotcovered", "cluster"),
    ("cluster", "cluster"),
    ("connection", "connection"),
    ("oserror", "connection"),
    ("socket", "connection"),
    ("unexpectedclose", "connection"),
)
"""Parts of the names of exception classes for errors that are not replies."""

_CLIENTS: Final = frozenset({"redis", "valkey", "pymemcache"})

_NEVER_SENT: Final = ("DataError", "MemcacheClientError", "MemcacheIllegalInputError")
"""Exception classes of commands that the client rejected before it sent them."""

_CODE: Final = re.compile(r"-?([A-Z][A-Z0-9_]+)(?= |$)")
_CODE_WITHIN_SCRIPT: Final = re.compile(r"@user_script: ?\d+: -?([A-Z][A-Z0-9_]+) ")

_ECHO: Final = re.compile(r"(with args beginning with:).*", re.DOTALL)

_ADVICE: Final = {
    "oom": "clients without a counter are not counted until there is room: raise maxmemory",
    "wrong_type": "something else was written to the key of this client's counter: delete that key",
    "bad_value": "something else was written to the key of this client's counter: delete that key",
    "pool_exhausted": "raise max_connections in OTEL_RATELIMIT_STORAGE_OPTIONS",
    "permission": "the user in the URI needs the commands of a script and the keys LIMITS:*",
    "unsupported": "the server, or a proxy in front of it, must run scripts (EVALSHA)",
}


def failure_of(error: BaseException) -> StoreFailure:
    """The meaning of an exception of the store's client."""
    names = [kind.__name__ for kind in type(error).__mro__]
    text = str(error).lower()
    code = _code(error, names)
    if code in _STATES:
        return StoreFailure(_STATES[code], concerns_all=True, answered=True)
    if code in _OF_ONE_REQUEST:
        return StoreFailure(_OF_ONE_REQUEST[code], concerns_all=False, answered=True)
    known = _known_text(text, replied=bool(code))
    if known is not None:
        return known
    if code or ("MemcacheServerError" in names and "MemcacheUnexpectedCloseError" not in names):
        return StoreFailure("other", concerns_all=False, answered=True)
    if any(name in names for name in _NEVER_SENT):
        return StoreFailure("other", concerns_all=False)
    return _unanswered(error, names)


def error_type_of(error: BaseException) -> str:
    """One of a few words for an error, safe as a metric attribute."""
    return failure_of(error).error_type


def is_of_client(error: BaseException) -> bool:
    """Whether a store's client library raised `error`, not the application or this package."""
    return any(kind.__module__.partition(".")[0] in _CLIENTS for kind in type(error).__mro__)


def advice_on(error_type: str) -> str:
    """Advice on an error for the log; empty if the error itself says what to do."""
    return _ADVICE.get(error_type, "")


def without_echo(text: str) -> str:
    """`text` without the arguments of an unknown command, which may be a password or clients' keys."""
    return _ECHO.sub(r"\1 ***", text)


def _code(error: BaseException, names: list[str]) -> str:
    """The code of the server's reply; empty if the error is not a reply."""
    for name in names:
        if name in _CODE_OF_CLASS:
            return _CODE_OF_CLASS[name]
    if "ResponseError" not in names:
        return ""
    text = str(error)
    within = _CODE_WITHIN_SCRIPT.findall(text)
    if within:
        return str(within[-1])
    begins = _CODE.match(text)
    return begins[1] if begins else "ERR"


def _known_text(text: str, *, replied: bool) -> StoreFailure | None:
    for part, word in _TEXTS_OF_STATES:
        if part in text:
            return StoreFailure(word, concerns_all=True)
    for part, word in _TEXTS_OF_ONE_REQUEST:
        if part in text:
            return StoreFailure(word, concerns_all=False, answered=replied)
    return None


def _unanswered(error: BaseException, names: list[str]) -> StoreFailure:
    for name in names:
        for part, word in _UNANSWERED:
            if part in name.lower():
                return StoreFailure(word, concerns_all=True)
    # Any other error took no time, and does not concern the requests of other clients.
    return StoreFailure("other", concerns_all=is_of_client(error))
