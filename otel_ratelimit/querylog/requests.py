"""One request's queries: the same template again and again is the N+1 pattern.

Sentry and others take five for a pattern; fewer are as often two lists on a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PATTERN_EXECUTIONS: Final = 5
"""As many executions of one template in one request make a pattern."""
MOST_STATEMENTS: Final = 256
"""Different texts told apart in one request."""


class RequestQueries:
    """Texts that one request has executed, and how often; used by the request's thread.

    Attributes:
        endpoint: route template of the request.
        trace_id: of the request; 0 for none.
        is_suspect: whether somebody has been told that there may be a pattern.
    """

    __slots__ = ("_counts", "endpoint", "is_suspect", "trace_id")

    def __init__(self, endpoint: str, trace_id: int = 0) -> None:
        self.endpoint = endpoint
        self.trace_id = trace_id
        self.is_suspect = False
        self._counts: dict[str, int] = {}

    def add(self, statement: str) -> bool:
        """One more execution of `statement`: whether there is a pattern, or may be, as of now."""
        counts = self._counts
        executions = counts.get(statement)
        if executions is not None:
            executions = counts[statement] = executions + 1
            return executions == PATTERN_EXECUTIONS
        if len(counts) >= MOST_STATEMENTS:
            return False
        counts[statement] = 1
        return len(counts) == PATTERN_EXECUTIONS

    def executions(self, statement: str) -> int:
        """How often `statement` has run."""
        return self._counts.get(statement, 0)

    @property
    def different(self) -> int:
        """Different texts so far."""
        return len(self._counts)

    @property
    def counts(self) -> Mapping[str, int]:
        """A copy, which another thread may take."""
        return self._counts.copy()
