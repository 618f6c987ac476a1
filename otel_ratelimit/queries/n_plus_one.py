"""N+1 patterns: from requests that ran many queries to templates that ran again and again in one of them.

A burst of a request's queries is looked at, once, when nothing has been added to it between two looks: it has
ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from otel_ratelimit.queries.records import QueryTemplate, RequestRepeats
from otel_ratelimit.queries.requests import PATTERN_EXECUTIONS, Burst, RequestQueries

MAX_BURSTS: Final = 1_000
"""Bursts that wait to be looked at."""
MAX_PATTERNS: Final = 1_000
"""Different patterns that wait to be written."""


QUESTIONS: Final = frozenset({"select", "values", "table", "insert", "update", "delete", "merge", "call"})
"""What makes a pattern, unlike savepoints and the like."""


class _Watched:
    """A burst, and how much it had run when it was looked at last."""

    __slots__ = ("burst", "executions")

    def __init__(self, burst: Burst) -> None:
        self.burst = burst
        self.executions = 0


class Patterns:
    """Patterns not written yet. `add` on any thread, the rest on the background thread.

    Args:
        template_of: the template of a text.
    """

    def __init__(self, template_of: Callable[[str], QueryTemplate]) -> None:
        self._template_of = template_of
        self._new: deque[Burst] = deque(maxlen=MAX_BURSTS)
        self._watched: list[_Watched] = []
        self._found: dict[tuple[int, str, int], RequestRepeats] = {}

    def __len__(self) -> int:
        """Patterns found and not yet taken."""
        return len(self._found)

    def add(self, burst: Burst) -> None:
        """Look at `burst` when it has come to rest."""
        self._new.append(burst)

    def look(self, now: float) -> None:
        """Look at those that have come to rest since the last time."""
        while self._new:
            self._watched.append(_Watched(self._new.popleft()))
        still: list[_Watched] = []
        for watched in self._watched[-MAX_BURSTS:]:
            counts = watched.burst.counts
            executions = sum(counts.values())
            if executions == watched.executions:
                self._count(watched.burst, now)
            else:
                watched.executions = executions
                still.append(watched)
        self._watched = still

    def settle(self, now: float) -> None:
        """Look at those that have not come to rest as well; there will be no other time."""
        self.look(now)
        for watched in self._watched:
            self._count(watched.burst, now)
        self._watched = []

    def take(self) -> tuple[RequestRepeats, ...]:
        """The patterns found since the last time."""
        found, self._found = self._found, {}
        return tuple(found.values())

    def _count(self, burst: Burst, now: float) -> None:
        request = burst.request
        by_template: dict[int, int] = {}
        templates: dict[int, QueryTemplate] = {}
        for statement, executions in burst.counts.items():
            template = self._template_of(statement)
            templates[template.hash] = template
            by_template[template.hash] = by_template.get(template.hash, 0) + executions
        minute = int(now // 60) * 60
        for template_hash, executions in by_template.items():
            if executions >= PATTERN_EXECUTIONS and templates[template_hash].operation in QUESTIONS:
                self._merge(
                    RequestRepeats(
                        minute,
                        request.endpoint,
                        templates[template_hash],
                        _times_counted(request, template_hash, minute),
                        executions,
                        executions,
                        f"{request.trace_id:032x}" if request.trace_id else None,
                    )
                )

    def _merge(self, new: RequestRepeats) -> None:
        place = (new.minute, new.endpoint, new.template.hash)
        old = self._found.get(place)
        if old is None:
            if len(self._found) < MAX_PATTERNS:
                self._found[place] = new
            return
        worst = old if old.most >= new.most else new
        self._found[place] = RequestRepeats(
            old.minute,
            old.endpoint,
            old.template,
            old.requests + new.requests,
            old.executions + new.executions,
            worst.most,
            worst.trace_id,
        )


def _times_counted(request: RequestQueries, template_hash: int, minute: int) -> int:
    """1 where the request is to be counted, which it is once a minute, however many bursts a stream has."""
    if request.counted.get(template_hash) == minute:
        return 0
    if len(request.counted) < MAX_PATTERNS:
        request.counted[template_hash] = minute
    return 1
