"""One execution of a query: how a driver's capture reports it, and what is kept of it until it is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

OK: Final = "ok"


class SessionContext(Protocol):
    """The database session that an execution ran in."""

    @property
    def context(self) -> bytes:
        """Equal where equal texts have equal results: server, database, role and settings."""

    @property
    def database(self) -> str:
        """Name of the database."""


class FixedContext(NamedTuple):
    """A `SessionContext` that does not change."""

    context: bytes
    database: str


ResultSize = tuple[int | None, int | None]
"""Rows returned or touched, and bytes of the result; None where unknown."""
ResultSizeReader = Callable[[Any, bool], ResultSize]
"""Called with a result, and whether its bytes are wanted."""


class CapturedExecution(NamedTuple):
    """An execution that is kept. It holds no values: only its key depends on them."""

    statement: str
    database: str
    started: float
    nanoseconds: int
    rows: int | None
    size: int | None
    status: str
    in_txn: bool
    endpoint: str | None
    trace_id: int


captured_execution: Final[Callable[[tuple[Any, ...]], CapturedExecution]] = partial(
    tuple.__new__, CapturedExecution
)
"""Makes a `CapturedExecution` of a tuple, in half the time that calling the class takes."""


class QueryObserver(Protocol):
    """Receives executions, on the thread that ran them."""

    def executed(  # noqa: PLR0913, PLR0917 - making one object of the arguments takes half as long as the rest
        self,
        statement: str,
        sent: bytes,
        session: SessionContext,
        nanoseconds: int,
        in_txn: bool,
        size_of: ResultSizeReader,
        result: Any,
        status: str = OK,
        started: float | None = None,
    ) -> None:
        """An execution has just ended. This must be quick.

        Args:
            statement: the text as the application wrote it, with its placeholders: what code ran.
            sent: the text as the server received it, without comments, with the parameters: what was asked.
            session: read during this call.
            nanoseconds: how long the execution took.
            in_txn: whether its transaction may have changed its result.
            size_of: called with `result` if the execution is kept, during this call; bytes cost the most.
            result: the result, which belongs to the code that ran the query.
            status: `OK`, or the SQLSTATE of the error.
            started: Unix time in seconds; None where the execution has just ended.
        """
