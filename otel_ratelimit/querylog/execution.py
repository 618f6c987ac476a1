"""One execution of a query, as whoever captured it hands it over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

OK: Final = "ok"


class Execution(NamedTuple):
    """What is known when the answer is there. Held in memory only: the parameters are in `sent`."""

    statement: str
    """As the application wrote it, placeholders and all: what code ran."""
    sent: bytes
    """As the server received it, without comments: what was asked."""
    context: bytes
    """Equal where equal texts have equal answers: database, role, settings."""
    database: str
    started: float | None
    """Unix time, seconds; None where it has just ended."""
    duration_us: int
    """Microseconds."""
    rows: int | None
    """Rows returned or touched; None where unknown."""
    status: str
    """`OK`, or the SQLSTATE of the error."""
    in_txn: bool
    """Whether the transaction it stands in colours its result."""


SizeOf = Callable[[Any], int | None]
"""Bytes of a result; None where unknown."""


class QueryObserver(Protocol):
    """Who is told of executions, on the thread that ran them."""

    def executed(self, execution: Execution, size_of: SizeOf, result: Any) -> None:
        """One more. Must be quick, and must not raise.

        Args:
            execution: what is known of it.
            size_of: asked with `result` where the execution is kept, and at once: it costs the most.
            result: held by whoever ran the query.
        """
