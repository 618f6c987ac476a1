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
        trace_id: 32 hex digits, or None.
    """

    __slots__ = ("_counts", "endpoint", "is_suspect", "trace_id")

    def __init__(self, endpoint: str, trace_id: str | None = None) -> None:
        self.endpoint = endpoint
        self.trace_id = trace_id
        self.is_suspect = False
        """Whether there may be a pattern: set when enough has run."""
        self._counts: dict[str, int] = {}

    def add(self, statement: str) -> int:
        """One more execution of `statement`: how often it has run now; 0 where it is no longer counted."""
        counts = self._counts
        count = counts.get(statement)
        if count is not None:
            counts[statement] = count + 1
            return count + 1
        if len(counts) >= MOST_STATEMENTS:
            return 0
        counts[statement] = 1
        return 1

    @property
    def different(self) -> int:
        """Different texts so far."""
        return len(self._counts)

    @property
    def counts(self) -> Mapping[str, int]:
        """A copy, which another thread may take."""
        return self._counts.copy()
