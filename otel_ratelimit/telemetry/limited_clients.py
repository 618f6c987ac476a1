"""For how long some client has been refused without a pause: a number for alerts that names nobody.

A client that keeps sending although it is refused, or whose limit is too low for its purpose, is refused for
hours. No metric may name a client, but one gauge can show that there is such a client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.telemetry.shared_gauges import Reading

PAUSE_SECONDS: Final = 60.0
"""A client not refused for so long is no longer being limited."""
MAX_CLIENTS: Final = 1_000
"""Clients followed at a time; beyond that, a new one is followed once another has paused."""
LOOK_SECONDS: Final = 1.0
"""Between two searches for clients that paused, while no more can be followed."""


class _Run:
    __slots__ = ("first", "last")

    def __init__(self, at: float) -> None:
        self.first = self.last = at

    def goes_on(self, at: float) -> bool:
        """Whether there was no pause until `at`; a clock that was set back further than one counts as one."""
        return abs(at - self.last) <= PAUSE_SECONDS


class LimitedClients:
    """Follows clients that are refused; any thread may report a refusal.

    There is no lock: if two threads start one client's run at once, one of them wins.
    """

    def __init__(self, clock: Clock, max_clients: int = MAX_CLIENTS) -> None:
        self._clock = clock
        self._max_clients = max_clients
        self._runs: dict[str, _Run] = {}
        self._looked_at = 0.0
        self._is_retired = False

    def refused(self, client: str, at: float) -> None:
        """Take note that `client` was refused at `at`, Unix time."""
        run = self._runs.get(client)
        if run is not None and run.goes_on(at):
            # Threads may come slightly out of order.
            run.last = max(run.last, at)
            return
        if run is None and len(self._runs) >= self._max_clients and not self._make_room(at):
            return
        self._runs[client] = _Run(at)

    def longest(self) -> float:
        """Seconds for which the client with the longest run has been refused; 0.0 without any."""
        self._forget_paused(self._clock())
        return max((run.last - run.first for run in list(self._runs.values())), default=0.0)

    def readings(self) -> Iterable[Reading]:
        """`longest`, for a gauge; none once this is retired."""
        return [] if self._is_retired else [(self.longest(), {})]

    def retire(self) -> None:
        """Report nothing from now on."""
        self._is_retired = True

    def clear(self) -> None:
        """Forget all clients; after a fork they are the parent's."""
        self._runs = {}

    def _make_room(self, now: float) -> bool:
        """Whether there is room once clients that paused are forgotten; checked at most once a second."""
        if abs(now - self._looked_at) < LOOK_SECONDS:
            return False
        self._looked_at = now
        self._forget_paused(now)
        return len(self._runs) < self._max_clients

    def _forget_paused(self, now: float) -> None:
        for client, run in list(self._runs.items()):
            if not run.goes_on(now):
                self._runs.pop(client, None)
