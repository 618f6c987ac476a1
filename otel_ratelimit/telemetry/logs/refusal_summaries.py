"""Which lines about refused requests are due: one per client, limit and minute.

The first refusal of a client is written at the next look, so that whoever tries a limit out sees it; what
follows within a minute is summed up in one line. Only the background thread comes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext

from otel_ratelimit.telemetry.logs.distinct_count import DistinctCount

MAX_CLIENTS: Final = 100
"""Clients with lines of their own at a time; more are summed up for each limit."""
MAX_LIMITS: Final = 100
"""Limits of endpoints that are told apart for clients without a line of their own; more share one line."""
LINE_SECONDS: Final = 60.0


class Refusal(NamedTuple):
    """What lines say beside their count."""

    client: str
    """The address; empty for several clients together."""
    user: str | None
    method: str
    route: str
    limit: str
    """As `limits` prints it: `10 per 1 minute`; empty, as route, method and tier, for several together."""
    tier: str
    shadow: bool


class LineKey(NamedTuple):
    """Refusals with the same key share a line."""

    client: str
    """As it is shown; empty for several clients together."""
    user: str | None
    scope: str
    """What the counter of the limit counts, so that limits with the same text are told apart."""
    limit: str
    shadow: bool


@dataclass(slots=True)
class Line:
    """A line that waits, and when the one before was written."""

    refusal: Refusal
    count: int = 0
    span: SpanContext | None = None
    clients: DistinctCount | None = None
    """How many clients there were, where they are not told apart."""
    limits: DistinctCount | None = None
    """How many limits of endpoints there were, where they are not told apart either."""
    written_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class DueLine:
    """What is to be written now."""

    refusal: Refusal
    count: int
    span: SpanContext | None
    """Of one of the requests; None where none was traced."""
    clients: int
    """About how many there were; 1 for a client with its own line."""
    limits: int
    """About how many limits of endpoints; 1 where they are told apart."""


def of_all_limits(shadow: bool) -> Refusal:
    """What a line says of limits and endpoints that are not told apart."""
    return Refusal("", None, "", "", "", "", shadow)


def limit_name(scope: str, limit: str) -> str:
    """One text for each limit of each endpoint, to count them."""
    return f"{scope}\0{limit}"


class RefusalLines:
    """Sums up refusals until their line is due.

    Args:
        max_clients: how many clients have lines of their own.
        max_limits: how many limits the other clients are told apart by.
        seconds: between two lines with the same key.
    """

    def __init__(
        self, max_clients: int = MAX_CLIENTS, seconds: float = LINE_SECONDS, max_limits: int = MAX_LIMITS
    ) -> None:
        self._max_clients = max_clients
        self._max_limits = max_limits
        self._seconds = seconds
        self._lines: dict[LineKey, Line] = {}
        self._others: dict[LineKey, Line] = {}

    def add(self, key: LineKey, refusal: Refusal, count: int, span: SpanContext | None) -> None:
        """Take note of `count` refusals of one client."""
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= self._max_clients:
                clients = DistinctCount()
                clients.add(f"{key.client} {key.user}")
                self.add_others(key, refusal, count, span, clients)
                return
            line = self._lines[key] = Line(refusal)
        line.count += count
        line.span = _better(line.span, span)

    def add_others(
        self,
        key: LineKey,
        refusal: Refusal,
        count: int,
        span: SpanContext | None,
        clients: DistinctCount,
        limits: DistinctCount | None = None,
    ) -> None:
        """Take note of `count` refusals of clients that are not told apart.

        With `limits`, the limits and endpoints are not told apart either.
        """
        key = key._replace(client="", user=None)
        line = self._others.get(key)
        if limits is not None or (line is None and len(self._others) >= self._max_limits):
            line = self._line_of_all(key, limits)
        elif line is None:
            line = self._others[key] = Line(refusal._replace(client="", user=None), clients=DistinctCount())
        if line.clients is not None:
            line.clients.merge(clients)
        line.count += count
        line.span = _better(line.span, span)

    def _line_of_all(self, key: LineKey, limits: DistinctCount | None) -> Line:
        """The line of all limits that find no place of their own."""
        of_all = LineKey("", None, "", "", key.shadow)
        line = self._others.get(of_all)
        if line is None:
            line = self._others[of_all] = Line(of_all_limits(key.shadow), clients=DistinctCount())
        line.limits = line.limits or DistinctCount()
        if limits is None:
            line.limits.add(limit_name(key.scope, key.limit))
        else:
            line.limits.merge(limits)
        return line

    def due(self, now: float) -> Iterator[DueLine]:
        """The lines to write at `now`, a monotonic time; who has paused for a minute is forgotten."""
        for lines in (self._lines, self._others):
            for key, line in list(lines.items()):
                if now - line.written_at < self._seconds:
                    continue
                if line.count:
                    yield _taken(line)
                    line.written_at = now
                else:
                    del lines[key]

    def rest(self) -> Iterator[DueLine]:
        """All that has not been written, due or not; for the end."""
        for lines in (self._lines, self._others):
            for line in lines.values():
                if line.count:
                    yield _taken(line)
        self.clear()

    def clear(self) -> None:
        """Forget all of it."""
        self._lines.clear()
        self._others.clear()


def _taken(line: Line) -> DueLine:
    clients = min(line.clients.estimate, line.count) if line.clients is not None else 1
    limits = min(line.limits.estimate, line.count) if line.limits is not None else 1
    taken = DueLine(line.refusal, line.count, line.span, clients, limits)
    line.count, line.span = 0, None
    if line.clients is not None:
        line.clients = DistinctCount()
    if line.limits is not None:
        line.limits = DistinctCount()
    return taken


def _better(one: SpanContext | None, other: SpanContext | None) -> SpanContext | None:
    """The one that can be found in a backend: a trace that is not sampled is not there."""
    if one is None or (other is not None and other.trace_flags.sampled and not one.trace_flags.sampled):
        return other
    return one
