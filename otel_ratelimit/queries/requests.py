"""One request's queries: the same template again and again, without a pause, is the N+1 pattern.

Sentry and others take five for a pattern; fewer are as often two lists on a page.

N+1 costs because round trips follow each other. A stream that looks every second whether there is news, or a
view that waits for it (long polling), runs one template as often, and nothing could be joined into one query.
So executions count together while the request pauses for less than `PAUSE_SECONDS` between the end of one
query and the beginning of the next: in one burst.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PATTERN_EXECUTIONS: Final = 5
"""As many executions of one template in one burst make a pattern."""
PAUSE_SECONDS: Final = 0.1
"""A request that runs no query for as long has ended a burst."""
MAX_STATEMENTS: Final = 256
"""Different texts told apart in one burst."""
_NANOSECOND: Final = 1e-9


class Burst:
    """Queries of one request without a pause between them.

    Attributes:
        request: whose they are.
        steps: texts, and how often each has run; only the request's thread changes it.
    """

    __slots__ = ("request", "steps")

    def __init__(self, request: RequestQueries) -> None:
        self.request = request
        self.steps: dict[str, int] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """A copy of the steps, which another thread may take."""
        return self.steps.copy()


class RequestQueries:
    """Texts that one request has executed, and how often; used by the request's thread.

    Attributes:
        endpoint: route template of the request.
        trace_id: of the request; 0 for none.
        burst: the present one.
        is_suspect: whether somebody has been told that there may be a pattern in it.
        said: texts of which the request's span says that they make a pattern.
        counted: templates that make a pattern in this request, and the minute in which that was counted last;
            used by the background thread.
    """

    __slots__ = ("_counts", "_ended", "burst", "counted", "endpoint", "is_suspect", "said", "trace_id")

    def __init__(self, endpoint: str, trace_id: int = 0) -> None:
        self.endpoint = endpoint
        self.trace_id = trace_id
        self.said: set[str] = set()
        self.counted: dict[int, int] = {}
        self._ended = 0.0
        self._begin_burst()

    def add(self, statement: str, nanoseconds: int, now: float) -> bool:
        """One more execution of `statement`: whether there is a pattern, or may be, as of now.

        Args:
            statement: its text.
            nanoseconds: how long it took.
            now: when it ended, seconds on a clock that nobody sets.
        """
        if now - nanoseconds * _NANOSECOND - self._ended >= PAUSE_SECONDS:
            self._begin_burst()
        self._ended = now
        counts = self._counts
        executions = counts.get(statement)
        if executions is not None:
            executions = counts[statement] = executions + 1
            return executions == PATTERN_EXECUTIONS
        if len(counts) >= MAX_STATEMENTS:
            return False
        counts[statement] = 1
        return len(counts) == PATTERN_EXECUTIONS

    def executions(self, statement: str) -> int:
        """How often `statement` has run in the present burst."""
        return self._counts.get(statement, 0)

    @property
    def different(self) -> int:
        """Different texts in the present burst."""
        return len(self._counts)

    def _begin_burst(self) -> None:
        self.burst = Burst(self)
        self._counts = self.burst.steps
        self.is_suspect = False
