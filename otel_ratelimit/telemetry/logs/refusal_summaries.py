"""Which lines about refused requests are due: one per client, limit and minute.

The first refusal of a client is written at the next flush, so that an operator who tries out a limit sees it.
Further refusals within a minute are summed up in one line. Only the background thread uses this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext

from otel_ratelimit.telemetry.logs.distinct_count import DistinctCount

MAX_CLIENTS: Final = 100
"""Clients with lines of their own at a time; further clients are summed up by limit."""
MAX_LIMITS: Final = 100
"""Limits of endpoints with a line each, for clients without their own; further limits share one line."""
LINE_SECONDS: Final = 60.0


class Refusal(NamedTuple):
    """The contents of a line, apart from its count."""

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
    """The client as it is shown; empty for several clients together."""
    user: str | None
    scope: str
    """The scope of the limit's counter: limits with the same text may differ in it."""
    limit: str
    shadow: bool


@dataclass(slots=True)
class Line:
    """A line that is not written yet, and when the one before it was."""

    refusal: Refusal
    count: int = 0
    span: SpanContext | None = None
    clients: DistinctCount | None = None
    """Estimates the number of clients, where they share the line."""
    limits: DistinctCount | None = None
    """Estimates the number of limits of endpoints, where they share the line too."""
    written_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class DueLine:
    """A line to write now."""

    refusal: Refusal
    count: int
    span: SpanContext | None
    """The span of one of the requests; None if none was traced."""
    clients: int
    """About how many clients there were; 1 for a client with its own line."""
    limits: int
    """About how many limits of endpoints there were; 1 for a limit with its own line."""


def of_all_limits(shadow: bool) -> Refusal:
    """The content of the line that all further limits and endpoints share."""
    return Refusal("", None, "", "", "", "", shadow)


def limit_name(scope: str, limit: str) -> str:
    """One text for each limit of each endpoint, to count them."""
    return f"{scope}\0{limit}"


class RefusalLines:
    """Sums up refusals until their line is due.

    Args:
        max_clients: how many clients have lines of their own.
        max_limits: how many limits have lines for the other clients.
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
        """Add `count` refusals of one client."""
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
        """Add `count` refusals of clients that share a line.

        With `limits`, the limits and endpoints share it too.
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
        """The line of all limits that have no line of their own."""
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
        """The lines to write at `now`, a monotonic time. Forgets clients after a minute without refusals."""
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
        """All lines that are not written yet, due or not; for the end of the process."""
        for lines in (self._lines, self._others):
            for line in lines.values():
                if line.count:
                    yield _taken(line)
        self.clear()

    def clear(self) -> None:
        """Forget all lines."""
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
    """The span whose trace a backend has: one that is not sampled is not exported."""
    if one is None or (other is not None and other.trace_flags.sampled and not one.trace_flags.sampled):
        return other
    return one
