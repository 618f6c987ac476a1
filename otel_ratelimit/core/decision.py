"""The values that travel between the parts. Made once in the core, consumed by every adapter.

    Window, RoutePlan   what the policy says of a route (resolved once, reused by every request)
    Identity            who asks
    WindowState         one counter after the check
    Decision            what was decided; goes to the response, to telemetry and to the recorder

Those made anew for each request are NamedTuples: building a frozen dataclass of the same
size takes about four times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since the Unix epoch, as `time.time`."""

OnError: TypeAlias = Literal["closed", "open"]


class Strategy(StrEnum):
    """How a window counts; names and meaning as in `limits.strategies`."""

    FIXED_WINDOW = "fixed-window"
    SLIDING_WINDOW_COUNTER = "sliding-window-counter"
    MOVING_WINDOW = "moving-window"


class Outcome(StrEnum):
    """Value of the attribute `otel_ratelimit.decision`."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    SHADOW_BLOCKED = "shadow_blocked"
    EXEMPT = "exempt"
    ERROR = "error"
    """The store failed: refused with 503 when the plan's `on_error` is closed, let through when open."""


REFUSING: Final = frozenset({Outcome.BLOCKED, Outcome.SHADOW_BLOCKED})
"""What is decided where a limit has no room, enforced or not."""


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


KeyKind: TypeAlias = Literal["ip", "user", "ip+user", "header", "function"]


KIND_LETTERS: Mapping[KeyKind, str] = MappingProxyType(
    {"ip": "i", "user": "u", "ip+user": "b", "header": "h", "function": "f"}
)
"""First letter of a client key, so that a store can tell the kinds of client apart."""

NETWORK_DIGITS: Final = 6
"""So many digits of a client key, those after the letter, say of which network the client is."""


class ClientKey(str):
    """The key of a client that is the same wherever it comes from, and could be anything the sender likes.

    So the sender's network is not in the key; a store that shares its room between networks finds it beside
    it. To all others this is the text that it is.
    """

    __slots__ = ("network",)

    network: int
    """As the key's first digits would be, read in base 32: the kind's letter and `NETWORK_DIGITS`."""


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


class Identity(NamedTuple):
    """Who asks. `key` is what counters use; nothing here is ever a metric attribute."""

    key: str
    """A letter for the kind (`KIND_LETTERS`), then 32 hex digits, whatever the client sent: a keyed hash of
    its network (`NETWORK_DIGITS`), and one of the client, so that a store can share its room fairly. A
    `ClientKey` where the sender is free to choose the client."""
    kind: KeyKind
    """What the key was really made of: `ip` where a user was wanted and none was known."""
    address: str
    """The client's address, normalised, whole. `unknown` when the server gave none."""
    user: str | None
    fallback: str = ""
    """Why the wanted key could not be had (`error`, `empty`); empty when it could."""


class WindowState(NamedTuple):
    """One counter after the check. Times are seconds from the moment of the check."""

    used: int
    """Units now used in the window, this request's included if it was taken."""
    remaining: int
    """Units left, never negative."""
    reset_after: float
    """Until the window is as empty as if nothing had been taken."""
    retry_after: float
    """Until a request of the same cost would be taken; 0.0 when this one was within the limit."""

    @property
    def exceeded(self) -> bool:
        """Whether this limit refused the request (or would have, in shadow)."""
        return self.retry_after > 0.0


class Taken(NamedTuple):
    """Answer of `CounterStore.take`: aligned with the windows it was asked for."""

    allowed: bool
    """False when an enforced (not shadow) window refused; then no window was drained."""
    states: tuple[WindowState, ...]


class CounterStore(Protocol):
    """Where counters live; one call a request, whatever the number of limits.

    Two phases, one atomic step. First the windows that are not in shadow: if one of them has not
    room for `cost`, nothing is drained anywhere and `allowed` is False. Otherwise they are all
    drained by `cost`; then, if every shadow window has room, those are all drained too, else none
    of them is. `retry_after` is positive for exactly the windows that had no room.
    """

    @property
    def name(self) -> str:
        """The URI's scheme, for the attribute `otel_ratelimit.storage`."""

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """Count `cost` units (0 or more) for `client` in all `windows`, or in none.

        A cost above a window's amount can never be taken: `retry_after` is then that window's
        length. `now` is Unix time in seconds; a remote store may use its own clock instead.

        Raises:
            StorageUnavailableError: the store failed or did not answer in time.
        """

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """What `take` would answer now; drains nothing (`used` is then without this request)."""

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """Forget `client`'s counters in `windows`; returns how many there were."""


class Decision(NamedTuple):
    """What was decided of one request. Made once; read by responses, telemetry and recorders."""

    outcome: Outcome
    plan: RoutePlan
    windows: tuple[Window, ...]
    """The plan's windows, scaled if the client has an override."""
    states: tuple[WindowState, ...]
    """Aligned with `windows`; empty when exempt or on a storage error."""
    identity: Identity | None
    """None when exempt."""
    tightest: int
    """Index of the window that decided or, when none refused, has the largest share used; -1 if none."""
    at: float
    """Unix time of the check, seconds."""
    duration: float
    """How long the check took, seconds."""
    error_type: str = ""
    """Why the store failed; set when the outcome is `error`."""

    @property
    def window(self) -> Window | None:
        """The window that decided, or the one with the least room."""
        return self.windows[self.tightest] if self.tightest >= 0 else None

    @property
    def state(self) -> WindowState | None:
        """The state of `window`."""
        return self.states[self.tightest] if self.tightest >= 0 else None

    @property
    def retry_after(self) -> float:
        """Seconds until a retry meets no enforced window that is still full."""
        return max(
            (s.retry_after for w, s in zip(self.windows, self.states, strict=True) if not w.shadow),
            default=0.0,
        )

    @property
    def full_for(self) -> float:
        """Seconds until every enforced window that this request has filled has room again."""
        return max((self.states[index].reset_after for index in self.full), default=0.0)

    @property
    def full(self) -> tuple[int, ...]:
        """Indexes of the enforced windows without room for another request like this one."""
        return tuple(
            index
            for index, (window, state) in enumerate(zip(self.windows, self.states, strict=False))
            if not window.shadow and state.remaining < self.plan.cost
        )

    @property
    def fails_closed(self) -> bool:
        """Whether what the store cannot decide is refused: a limit is enforced, and `on_error` says so."""
        return self.plan.on_error == "closed" and any(not window.shadow for window in self.windows)

    @property
    def utilization(self) -> float:
        """Share of the tightest limit used, 0 to 1."""
        if self.tightest < 0:
            return 0.0
        window, state = self.windows[self.tightest], self.states[self.tightest]
        return 1.0 - state.remaining / window.amount


class DecisionSink(Protocol):
    """Anything that wants to know of decisions. Called on the request's thread: must be quick."""

    def __call__(self, decision: Decision, /) -> None:
        """Take note of `decision`; what it raises is logged and goes no further."""


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What one sweep of the store did."""

    removed_keys: int
    freed_bytes: int
    duration_seconds: float
    longest_pause_seconds: float


@dataclass(frozen=True, slots=True)
class StorageSnapshot:
    """What the store holds at one moment, for metrics, the API and the log."""

    name: str
    size_bytes: int
    capacity_bytes: int | None
    keys: int
    overflows: int
    by_endpoint: Mapping[str, int] = field(default_factory=dict)
    by_client_kind: Mapping[str, int] = field(default_factory=dict)
