"""What the policy says of a route: its limits, key and failure mode. Resolved once, used by every request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

OnError: TypeAlias = Literal["closed", "open"]


class Strategy(StrEnum):
    """How a window counts; names and meaning as in `limits.strategies`."""

    FIXED_WINDOW = "fixed-window"
    SLIDING_WINDOW_COUNTER = "sliding-window-counter"
    MOVING_WINDOW = "moving-window"


@dataclass(frozen=True, slots=True)
class Window:
    """One limit of a route: `amount` requests in `seconds`, counted per client."""

    prefix: str
    """What is counted, without the client: the counter's key is `prefix + client key`.

    `namespace|scope|seconds|strategy|`, the scope being an endpoint and the methods that are counted
    together, a rule or a tier (see `policy.scope`); `|` and `%` in parts are percent-encoded. Never holds
    the amount or the name of a tier, so that those can change and keep the counter.
    """
    amount: int
    seconds: int
    strategy: Strategy
    shadow: bool
    text: str
    """As `limits` prints it: `10 per 1 minute`."""
    name: str
    """Name of the quota in `RateLimit` headers and problem bodies: `10-per-minute`."""


def quota_name(limit: str) -> str:
    """`Window.name` for `Window.text`: `10-per-minute` for `10 per 1 minute`."""
    return limit.replace(" per 1 ", "-per-").replace(" ", "-")


KeyKind: TypeAlias = Literal["ip", "user", "ip+user", "header", "function"]


KIND_LETTERS: Mapping[KeyKind, str] = MappingProxyType(
    {"ip": "i", "user": "u", "ip+user": "b", "header": "h", "function": "f"}
)
"""First letter of a client key, so that a store can tell the kinds of client apart."""


NETWORK_DIGITS: Final = 6
"""So many digits of a client key, those after the letter, say of which network the client is."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """How a client is told from another; `ip | user | ip+user | header:NAME | module:function`."""

    kind: KeyKind
    argument: str = ""
    """The header's name, or `module:function`; empty otherwise."""

    def __str__(self) -> str:
        return f"header:{self.argument}" if self.kind == "header" else self.argument or self.kind


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Everything the policy says of one endpoint and method. Resolved once, not per request."""

    endpoint: str
    """Flask's endpoint name; empty for unmatched requests."""
    method: str
    """Known method, or `_OTHER`. HEAD is planned as GET."""
    route: str
    """The route's template (`/users/<int:id>`), or `<unmatched>`."""
    tier: str
    exempt: bool
    key: KeySpec
    windows: tuple[Window, ...]
    """Shortest window first. Empty when exempt."""
    cost: int
    on_error: OnError
    source: str
    """Which rule said so: `routes[2] (ratelimit.toml:31)`, `default_tier`, `exempt`."""
    otherwise: RoutePlan | None = None
    """The plan for requests to which no limit was applied that the application declared on the view;
    None where it declared none. Such a plan is itself exempt."""


class HeaderStyle(NamedTuple):
    """Which rate-limit headers responses carry."""

    draft: int = 11
    """Revision of draft-ietf-httpapi-ratelimit-headers; 0 for none of its headers."""
    x_headers: bool = True
    """Whether the `X-RateLimit-*` headers are written."""


class ClientOverride(NamedTuple):
    """What `[[clients]]` says of one client."""

    multiply: float
    exempt: bool
    source: str
