"""Queries on asynchronous connections (`async_=True`), which end when the connection is polled.

There `execute` only sends a statement. Its result, the number of rows and an error come with the `poll` that
answers `POLL_OK` or raises (psycopg2, "Asynchronous support"). Until then a cursor shows the result of the
statement before. So `poll` reports the execution; its duration lasts until the application has polled.

With a wait callback (gevent, `psycopg2.extensions.set_wait_callback`) connections are not asynchronous in
that sense: `execute` returns when the result is there.
"""

from __future__ import annotations

import time
import weakref
from typing import Any, ClassVar, Final

from psycopg2 import extensions

from otel_ratelimit.queries.capture_psycopg2.cursors import named_as
from otel_ratelimit.queries.capture_psycopg2.execution_reporter import ExecutionReporter
from otel_ratelimit.queries.capture_psycopg2.session_state import SessionState

PENDING: Final = "otel_ratelimit_pending"
"""The attribute of captured connections that holds the `PendingExecution` of an asynchronous one."""


class PendingExecution:
    """A statement that was sent, and whose result has not been seen."""

    __slots__ = ("_ambiguous", "_begun", "_cursor", "_in_txn", "_query", "_reporter", "_session")

    def __init__(
        self, reporter: ExecutionReporter, cursor: extensions.cursor, session: SessionState, *, in_txn: bool
    ) -> None:
        self._reporter = reporter
        # As psycopg2 does: an application that drops a cursor drops its result.
        self._cursor = weakref.ref(cursor)
        self._session = session
        self._in_txn = in_txn
        self._ambiguous = session.ambiguous()
        self._query: object = None
        self._begun = time.perf_counter_ns()

    def sent(self, connection: Any, query: object) -> None:
        """It was sent; `query` is None if psycopg2 made the statement."""
        self._query = query
        setattr(connection, PENDING, self)

    def ended(self) -> None:
        """Its result is there."""
        cursor = self._cursor()
        if cursor is not None:
            self._reporter.ran(
                cursor, self._session, self._query, self._took(), self._in_txn, self._ambiguous
            )

    def failed(self, error: BaseException) -> None:
        """It failed, when it was sent or later."""
        cursor = self._cursor()
        if cursor is not None:
            self._reporter.failed(
                cursor, self._session, self._query, self._took(), self._in_txn, self._ambiguous, error
            )

    def _took(self) -> int:
        return time.perf_counter_ns() - self._begun


class CapturingAsyncCursor(extensions.cursor):
    """The cursors of asynchronous connections.

    It rejects the calls that psycopg2 rejects on such connections (`executemany`, `COPY`, named cursors).
    """

    __slots__ = ()
    otel_ratelimit_reporter: ClassVar[ExecutionReporter]

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name for it
        """Send a statement; `poll` reports it."""
        reporter = self.otel_ratelimit_reporter
        session, in_txn = reporter.begun(self.connection)
        if session is None:
            super().execute(query, vars)
            return
        pending = PendingExecution(reporter, self, session, in_txn=in_txn)
        super().execute(query, vars)
        pending.sent(self.connection, query)

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        """Send the call of a procedure; `poll` reports it."""
        reporter = self.otel_ratelimit_reporter
        session, in_txn = reporter.begun(self.connection)
        if session is None:
            return super().callproc(*args, **kwargs)
        pending = PendingExecution(reporter, self, session, in_txn=in_txn)
        answer = super().callproc(*args, **kwargs)
        pending.sent(self.connection, None)
        return answer


def capturing_async_cursor(reporter: ExecutionReporter) -> type[extensions.cursor]:
    """The class of asynchronous cursors that report to `reporter`; the last base before psycopg2's own."""
    ours = type(
        "CapturingAsyncCursor",
        (CapturingAsyncCursor,),
        {"__slots__": (), "otel_ratelimit_reporter": reporter},
    )
    return named_as(ours, extensions.cursor)


def polled(connection: Any, state: int) -> None:
    """Report what has ended when a `poll` of `connection` answered `state`."""
    if state == extensions.POLL_OK:
        pending: PendingExecution | None = getattr(connection, PENDING)
        if pending is not None:
            setattr(connection, PENDING, None)
            pending.ended()


def poll_failed(connection: Any, error: BaseException) -> None:
    """Report what has failed when a `poll` of `connection` raised `error`."""
    pending: PendingExecution | None = getattr(connection, PENDING)
    if pending is not None:
        setattr(connection, PENDING, None)
        pending.failed(error)
