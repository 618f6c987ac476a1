"""The interface of counter stores: all limits of a request in one call, and what the store holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from otel_ratelimit.core.route_plan import Window


class WindowState(NamedTuple):
    """One counter after the check. Times are seconds from the moment of the check."""

    used: int
    """Units now used in the window, this request's included if it was taken."""
    remaining: int
    """Units left, never negative."""
    reset_after: float
    """Until the window is empty, as if nothing had been taken."""
    retry_after: float
    """Until a request of the same cost would be allowed; 0.0 when this one was within the limit."""

    @property
    def exceeded(self) -> bool:
        """Whether this limit refused the request (or would have, in shadow)."""
        return self.retry_after > 0.0


class Taken(NamedTuple):
    """The answer of `CounterStore.take`; its states are in the order of the windows asked for."""

    allowed: bool
    """False when an enforced (not shadow) window refused; then nothing was counted."""
    states: tuple[WindowState, ...]


class CounterStore(Protocol):
    """Where counters live; it is called once for each request, whatever the number of limits.

    A call has two phases in one atomic step. First come the windows that are not in shadow: if one of them
    has no room for `cost`, nothing is counted anywhere and `allowed` is False. Otherwise `cost` is counted in
    all of them. Then, if every shadow window has room, `cost` is counted in all of those too, else in none of
    them. `retry_after` is positive for exactly the windows that had no room.
    """

    @property
    def name(self) -> str:
        """The URI's scheme, for the attribute `otel_ratelimit.storage`."""

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """Count `cost` units (0 or more) for `client` in all `windows`, or in none.

        A cost above a window's amount is never allowed: `retry_after` is then that window's
        length. `now` is Unix time in seconds; a remote store may use its own clock instead.

        Raises:
            StorageUnavailableError: the store failed or did not answer in time.
        """

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """The answer that `take` would give now; counts nothing, so `used` is without this request."""

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """Forget `client`'s counters in `windows`; returns how many there were."""


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """The result of one sweep of the store."""

    removed_keys: int
    freed_bytes: int
    duration_seconds: float
    longest_pause_seconds: float


@dataclass(frozen=True, slots=True)
class StorageSnapshot:
    """The store's contents at one moment, for metrics, the API and the log."""

    name: str
    size_bytes: int
    capacity_bytes: int | None
    keys: int
    overflows: int
    by_endpoint: Mapping[str, int] = field(default_factory=dict)
    by_client_kind: Mapping[str, int] = field(default_factory=dict)
