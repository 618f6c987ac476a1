"""The decision on one request: made once, and read by every adapter.

Values that are made for each request are NamedTuples: a frozen dataclass of the same size takes about four
times as long to build.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import RoutePlan, Window


class DecisionKind(StrEnum):
    """Value of the attribute `otel_ratelimit.decision`."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    SHADOW_BLOCKED = "shadow_blocked"
    EXEMPT = "exempt"
    ERROR = "error"
    """The store failed: refused with 503 when the plan's `on_error` is closed, let through when open."""


REFUSING: Final = frozenset({DecisionKind.BLOCKED, DecisionKind.SHADOW_BLOCKED})
"""The kinds of decision where a limit has no room, whether it is enforced or not."""


class Decision(NamedTuple):
    """The decision on one request. Made once; read by responses, telemetry and recorders."""

    kind: DecisionKind
    plan: RoutePlan
    windows: tuple[Window, ...]
    """The plan's windows, with scaled amounts if the client has an override."""
    states: tuple[WindowState, ...]
    """In the order of `windows`; empty when exempt or on a storage error."""
    identity: Identity | None
    """None when exempt."""
    tightest: int
    """Index of the window that decided or, when none refused, has the largest share used; -1 if none."""
    at: float
    """Unix time of the check, seconds."""
    duration: float
    """How long the check took, seconds."""
    error_type: str = ""
    """Why the store failed; set when the kind is `error`."""

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
        """Whether a failing store means refusal: a limit is enforced, and `on_error` is closed."""
        return self.plan.on_error == "closed" and any(not window.shadow for window in self.windows)

    @property
    def utilization(self) -> float:
        """Share of the tightest limit used, 0 to 1."""
        if self.tightest < 0:
            return 0.0
        window, state = self.windows[self.tightest], self.states[self.tightest]
        return 1.0 - state.remaining / window.amount


class DecisionSink(Protocol):
    """Called with every decision, on the request's thread: must be quick."""

    def __call__(self, decision: Decision, /) -> None:
        """Take note of `decision`; an exception is logged and not passed on."""
