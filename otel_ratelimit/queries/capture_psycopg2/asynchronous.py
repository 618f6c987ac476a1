"""Queries on asynchronous connections (`async_=True`), which end when the connection is polled.

There `execute` only sends a statement. Its result, the number of rows and an error come with the `poll`
that answers `POLL_OK` or raises (psycopg2, "Asynchronous support"). Until then a cursor shows the answer to
what it ran before. So that `poll` reports the execution; its duration lasts until the application has looked.

With a wait callback (gevent, `psycopg2.extensions.set_wait_callback`) connections are not asynchronous in
that sense: `execute` returns when the result is there.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from psycopg2 import extensions

if TYPE_CHECKING:
    from otel_ratelimit.queries.capture_psycopg2.cursors import Watch
    from otel_ratelimit.queries.capture_psycopg2.session import SessionState

UNDERWAY: Final = "otel_ratelimit_underway"
"""The attribute of our connections that holds the `Underway` of an asynchronous one."""


class Underway:
    """A statement that was sent, and whose result has not been seen."""

    __slots__ = ("_ambiguous", "_begun", "_cursor", "_in_txn", "_query", "_session", "_watch")

    def __init__(
        self, watch: Watch, cursor: extensions.cursor, session: SessionState, *, in_txn: bool
    ) -> None:
        self._watch = watch
        # As psycopg2 does: who drops a cursor drops its result.
        self._cursor = weakref.ref(cursor)
        self._session = session
        self._in_txn = in_txn
        self._ambiguous = session.ambiguous()
        self._query: object = None
        self._begun = time.perf_counter_ns()

    def sent(self, connection: Any, query: object) -> None:
        """It is on its way; `query` is None for what psycopg2 makes a statement of."""
        self._query = query
        setattr(connection, UNDERWAY, self)

    def ended(self) -> None:
        """Its result is there."""
        cursor = self._cursor()
        if cursor is not None:
            self._watch.ran(cursor, self._session, self._query, self._took(), self._in_txn, self._ambiguous)

    def failed(self, error: BaseException) -> None:
        """It failed, at once or on its way."""
        cursor = self._cursor()
        if cursor is not None:
            self._watch.failed(
                cursor, self._session, self._query, self._took(), self._in_txn, self._ambiguous, error
            )

    def _took(self) -> int:
        return time.perf_counter_ns() - self._begun


def capturing_async_cursor(watch: Watch) -> type[extensions.cursor]:
    """The class of an asynchronous connection's cursors; it is the last base before psycopg2's own.

    What psycopg2 refuses on such connections (`executemany`, `COPY`, named cursors) it refuses by itself.
    """

    class CapturingAsyncCursor(extensions.cursor):
        __slots__ = ()

        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name for it
            session, in_txn = watch.begun(self.connection)
            if session is None:
                super().execute(query, vars)
                return
            underway = Underway(watch, self, session, in_txn=in_txn)
            super().execute(query, vars)
            underway.sent(self.connection, query)

        def callproc(self, *args: Any, **kwargs: Any) -> Any:
            session, in_txn = watch.begun(self.connection)
            if session is None:
                return super().callproc(*args, **kwargs)
            underway = Underway(watch, self, session, in_txn=in_txn)
            answer = super().callproc(*args, **kwargs)
            underway.sent(self.connection, None)
            return answer

    return CapturingAsyncCursor


def polled(connection: Any, state: int) -> None:
    """After a `poll` of `connection`, which answered `state`."""
    if state == extensions.POLL_OK:
        underway: Underway | None = getattr(connection, UNDERWAY)
        if underway is not None:
            setattr(connection, UNDERWAY, None)
            underway.ended()


def poll_failed(connection: Any, error: BaseException) -> None:
    """After a `poll` of `connection` that raised `error`."""
    underway: Underway | None = getattr(connection, UNDERWAY)
    if underway is not None:
        setattr(connection, UNDERWAY, None)
        underway.failed(error)
