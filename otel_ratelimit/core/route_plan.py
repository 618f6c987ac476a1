"""The policy for one route: limits, key and failure mode. Resolved once, used by every request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

OnError: TypeAlias = Literal["closed", "open"]


class Strategy(StrEnum):
    """How a window counts; names and meanings are those of `limits.strategies`."""

    FIXED_WINDOW = "fixed-window"
    SLIDING_WINDOW_COUNTER = "sliding-window-counter"
    MOVING_WINDOW = "moving-window"


@dataclass(frozen=True, slots=True)
class Window:
    """One limit of a route: `amount` requests in `seconds`, counted per client."""

    prefix: str
    """The counter's key without the client: the counter's key is `prefix + client key`.

    Its form is `namespace|scope|seconds|strategy|`. The scope is an endpoint and the methods that are counted
    together, a rule, or a tier (see the counter's scope in `policy`); `|` and `%` in parts are
    percent-encoded. It holds neither the amount nor the name of a tier, so that those can change without
    losing the counter.
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
"""The first letter of a client key, by which a store tells the kinds of client apart."""


NETWORK_DIGITS: Final = 6
"""The number of digits of a client key, after the letter, that stand for the client's network."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """The way to tell clients apart: `ip | user | ip+user | header:NAME | module:function`."""

    kind: KeyKind
    argument: str = ""
    """The header's name, or `module:function`; empty otherwise."""

    def __str__(self) -> str:
        return f"header:{self.argument}" if self.kind == "header" else self.argument or self.kind


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Everything the policy says about one endpoint and method. Resolved once, not per request."""

    endpoint: str
    """Flask's endpoint name; empty for unmatched requests."""
    method: str
    """A known method, or `_OTHER`. HEAD has the plan of GET."""
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
    """The rule that this comes from: `routes[2] (ratelimit.toml:31)`, `default_tier`, `exempt`."""
    otherwise: RoutePlan | None = None
    """The plan for requests to which none of the view's declared limits was applied; None where there are no
    declared limits. A plan that has this one is itself exempt."""


class HeaderStyle(NamedTuple):
    """Which rate-limit headers are in responses."""

    draft: int = 11
    """Revision of draft-ietf-httpapi-ratelimit-headers; 0 for none of its headers."""
    x_headers: bool = True
    """Whether the `X-RateLimit-*` headers are written."""


class ClientOverride(NamedTuple):
    """The settings in `[[clients]]` for one client."""

    multiply: float
    exempt: bool
    source: str
