"""The queries of one request, counted by text on the request's thread: the first step to N+1 patterns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_ratelimit.queries.n_plus_one import N_PLUS_ONE_EXECUTIONS, PAUSE_SECONDS

MAX_STATEMENTS: Final = 256
"""Different texts that are counted separately in one burst."""
_NANOSECOND: Final = 1e-9


class Burst:
    """Queries of one request without a pause between them.

    Attributes:
        request: the request that ran them.
        steps: how often each text has run; only the request's thread changes it.
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
    """The texts that one request has executed, and how often; used by the request's thread.

    Attributes:
        endpoint: route template of the request.
        trace_id: trace of the request; 0 for none.
        burst: the current burst.
        is_suspect: whether the current burst has been handed over because it may contain a pattern.
        reported: texts that the request's span reports as N+1.
        counted: templates that make a pattern in this request, and the minute in which each was counted last;
            used by the background thread.
    """

    __slots__ = ("_counts", "_ended", "burst", "counted", "endpoint", "is_suspect", "reported", "trace_id")

    def __init__(self, endpoint: str, trace_id: int = 0) -> None:
        self.endpoint = endpoint
        self.trace_id = trace_id
        self.reported: set[str] = set()
        self.counted: dict[int, int] = {}
        self._ended = 0.0
        self._begin_burst()

    def add(self, statement: str, nanoseconds: int, now: float) -> bool:
        """Count one more execution of `statement`.

        Args:
            statement: its text.
            nanoseconds: how long it took.
            now: when it ended, in seconds of a clock that is never set back.

        Returns:
            Whether this execution makes a pattern, or makes one possible.
        """
        if now - nanoseconds * _NANOSECOND - self._ended >= PAUSE_SECONDS:
            self._begin_burst()
        self._ended = now
        counts = self._counts
        executions = counts.get(statement)
        if executions is not None:
            executions = counts[statement] = executions + 1
            return executions == N_PLUS_ONE_EXECUTIONS
        if len(counts) >= MAX_STATEMENTS:
            return False
        counts[statement] = 1
        return len(counts) == N_PLUS_ONE_EXECUTIONS

    def executions(self, statement: str) -> int:
        """How often `statement` has run in the current burst."""
        return self._counts.get(statement, 0)

    def _begin_burst(self) -> None:
        self.burst = Burst(self)
        self._counts = self.burst.steps
        self.is_suspect = False
