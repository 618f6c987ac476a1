"""For how long some client has been refused without a pause: a number for alerts that names nobody.

A client that goes on asking although it is refused, or whose limit is too low for what it is there for, is
refused for hours. No metric may say who it is; that somebody is, one gauge can.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.telemetry.shared_gauges import Reading

PAUSE_SECONDS: Final = 60.0
"""A client not refused for so long is no longer being limited."""
MAX_CLIENTS: Final = 1_000
"""Followed at a time; beyond, a newcomer is followed once another has paused."""
LOOK_SECONDS: Final = 1.0
"""Between two looks for those that paused while there is no room."""


class _Run:
    __slots__ = ("first", "last")

    def __init__(self, at: float) -> None:
        self.first = self.last = at

    def goes_on(self, at: float) -> bool:
        """Whether there was no pause until `at`; a clock that was set back further than one counts as one."""
        return abs(at - self.last) <= PAUSE_SECONDS


class LimitedClients:
    """Follows clients that are refused; any thread may tell of a refusal.

    Without a lock: of two threads that begin one client's run at once, one begins it.
    """

    def __init__(self, clock: Clock, most: int = MAX_CLIENTS) -> None:
        self._clock = clock
        self._most = most
        self._runs: dict[str, _Run] = {}
        self._looked_at = 0.0

    def refused(self, client: str, at: float) -> None:
        """Take note that `client` was refused at `at`, Unix time."""
        run = self._runs.get(client)
        if run is not None and run.goes_on(at):
            # Threads may come a little out of turn.
            run.last = max(run.last, at)
            return
        if run is None and len(self._runs) >= self._most and not self._make_room(at):
            return
        self._runs[client] = _Run(at)

    def longest(self) -> float:
        """Seconds for which the client refused longest has been; 0.0 where none is now."""
        self._forget_paused(self._clock())
        return max((run.last - run.first for run in list(self._runs.values())), default=0.0)

    def readings(self) -> Iterable[Reading]:
        """`longest`, for a gauge."""
        return [(self.longest(), {})]

    def clear(self) -> None:
        """Forget all: in a forked child they are the parent's."""
        self._runs = {}

    def _make_room(self, now: float) -> bool:
        """Whether there is some after those that paused are gone; not looked for each time."""
        if abs(now - self._looked_at) < LOOK_SECONDS:
            return False
        self._looked_at = now
        self._forget_paused(now)
        return len(self._runs) < self._most

    def _forget_paused(self, now: float) -> None:
        for client, run in list(self._runs.items()):
            if not run.goes_on(now):
                self._runs.pop(client, None)
