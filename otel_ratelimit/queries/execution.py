"""One execution of a query: how a driver's capture reports it, and what is kept of it until it is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from otel_ratelimit.queries.records import UNREADABLE

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


_STATUSES_AFTER_NAME_LOOKUP: Final = frozenset({OK, "21000", "23503", "23505", "23P01", "40001"})
"""SQLSTATEs that the server sends only while it carries a statement out, when it has found each name.

PostgreSQL's documentation, "PostgreSQL Error Codes". Class 42 says that a name does not exist. Others may
come before all names are looked up: while the server waits for a table's lock (55P03, 57014, 40P01), when it
reads a literal (22, and 23514 of a domain), when a schema or a command is not allowed (42501, 25006), in a
transaction that has failed (25P02), or with the connection (08, 57P01).
"""


def recordable_text(statement: str, status: str) -> str:
    """The text under which a statement that ended with `status` may be recorded.

    Where an application writes a value without quotes, the server takes it for a name and does not find it.
    So the text is recorded only where the server has found every name, and `UNREADABLE` otherwise.
    """
    return statement if status in _STATUSES_AFTER_NAME_LOOKUP else UNREADABLE.text


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
