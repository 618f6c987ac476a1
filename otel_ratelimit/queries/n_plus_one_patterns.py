"""Finds N+1 patterns, on the background thread, in the bursts of queries that requests have run.

A burst is examined once, when it has ended: when no query was added to it between two looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from otel_ratelimit.queries.n_plus_one import N_PLUS_ONE_EXECUTIONS, can_be_n_plus_one
from otel_ratelimit.queries.records import QueryTemplate, RequestRepeats
from otel_ratelimit.queries.request_queries import Burst, RequestQueries

MAX_BURSTS: Final = 1_000
"""Bursts that wait until they are examined."""
MAX_PATTERNS: Final = 1_000
"""Different patterns that wait to be written."""


class _OpenBurst:
    """A burst, and how many queries it had when it was looked at last."""

    __slots__ = ("burst", "executions")

    def __init__(self, burst: Burst) -> None:
        self.burst = burst
        self.executions = 0


class NPlusOnePatterns:
    """Patterns that are not written yet. `add` on any thread, the rest on the background thread.

    Args:
        template_of: the template of a text.
    """

    def __init__(self, template_of: Callable[[str], QueryTemplate]) -> None:
        self._template_of = template_of
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: forget what waits, because the parent writes it."""
        self._new: deque[Burst] = deque(maxlen=MAX_BURSTS)
        self._open: list[_OpenBurst] = []
        self._found: dict[tuple[int, str, int], RequestRepeats] = {}

    def __len__(self) -> int:
        """Patterns that were found and not yet taken."""
        return len(self._found)

    def add(self, burst: Burst) -> None:
        """Examine `burst` when it has ended."""
        self._new.append(burst)

    def examine(self, now: float) -> None:
        """Examine the bursts that have ended since the last time."""
        while self._new:
            self._open.append(_OpenBurst(self._new.popleft()))
        still_open: list[_OpenBurst] = []
        for each in self._open[-MAX_BURSTS:]:
            executions = sum(each.burst.counts.values())
            if executions == each.executions:
                self._count(each.burst, now)
            else:
                each.executions = executions
                still_open.append(each)
        self._open = still_open

    def examine_all(self, now: float) -> None:
        """Examine the bursts that have not ended as well, because there will be no other time."""
        self.examine(now)
        for each in self._open:
            self._count(each.burst, now)
        self._open = []

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
            if executions >= N_PLUS_ONE_EXECUTIONS and can_be_n_plus_one(templates[template_hash].operation):
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
    """1 if the request has to be counted. It counts once a minute, however many bursts a stream has."""
    if request.counted.get(template_hash) == minute:
        return 0
    if len(request.counted) < MAX_PATTERNS:
        request.counted[template_hash] = minute
    return 1
