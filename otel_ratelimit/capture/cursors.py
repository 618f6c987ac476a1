"""Cursors that tell of what they execute, from directly above psycopg2's own.

The class stands below every other Python class of a cursor, OpenTelemetry's included: it is within the span,
sees the statement as it is sent, and is passed once however many classes stand above it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.capture.result_size import SizeOf
from otel_ratelimit.capture.session import SessionState
from otel_ratelimit.fingerprint import split_statements
from otel_ratelimit.fingerprint.comments import without_comments, without_trailing_comment
from otel_ratelimit.querylog.execution import OK, Execution, QueryObserver

_log = logging.getLogger(__name__)

SESSION: Final = "otel_ratelimit_session"
"""The attribute of our connections that holds their `SessionState`."""

_DECLARE: Final = re.compile(
    rb'DECLARE "(?:[^"]|"")*" (?:NO SCROLL |SCROLL )?CURSOR (?:WITH|WITHOUT) HOLD FOR ', re.IGNORECASE
)
"""What psycopg2 puts before the query of a named cursor, whose name is often another each time."""
_END: Final = b"; \t\r\n"
_CONNECTION_LOST: Final = "08006"


class Watch:
    """From calls of a cursor to executions, for `observer`; a fault of ours is logged once, never raised."""

    def __init__(self, observer: QueryObserver, size_of: SizeOf) -> None:
        self._observer = observer
        self._size_of = size_of
        self._has_failed = False

    def ran(  # noqa: PLR0913, PLR0917 - microseconds count: no object for what is handed on
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        started: float,
        nanoseconds: int,
        in_txn: bool,
    ) -> None:
        """A statement succeeded."""
        try:
            sent = cursor.query
            if not sent:
                return
            size: Callable[[], int | None] = partial(self._size_of, cursor)
            if cursor.name is not None:
                sent, size = _DECLARE.sub(b"", sent, count=1), _unknown_size
            if b"/*" in sent or b"--" in sent:
                sent = _uncommented(sent)
            rows = cursor.rowcount
            self._tell(
                session,
                query,
                sent,
                started,
                nanoseconds // 1000,
                rows if rows >= 0 else None,
                OK,
                in_txn,
                size,
            )
        except Exception:  # noqa: BLE001 - the application has its result, and must get it
            self._fault()

    def failed(  # noqa: PLR0913, PLR0917 - as above
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        started: float,
        nanoseconds: int,
        in_txn: bool,
        error: BaseException,
    ) -> None:
        """A statement failed; of interest if the server has seen it."""
        try:
            status = getattr(error, "pgcode", None)
            if status is None and isinstance(error, psycopg2.OperationalError):
                status = _CONNECTION_LOST
            sent = cursor.query
            if status is None or not sent:
                return
            if cursor.name is not None:
                sent = _DECLARE.sub(b"", sent, count=1)
            sent = _uncommented(sent)
            duration_us = nanoseconds // 1000
            self._tell(session, query, sent, started, duration_us, None, status, in_txn, _unknown_size)
        except Exception:  # noqa: BLE001 - the application must get its own error
            self._fault()

    def _tell(  # noqa: PLR0913, PLR0917 - as above
        self,
        session: SessionState,
        query: object,
        sent: bytes,
        started: float,
        duration_us: int,
        rows: int | None,
        status: str,
        in_txn: bool,
        size: Callable[[], int | None],
    ) -> None:
        if b";" in sent:
            sent = sent.rstrip(_END)
            if b";" in sent and self._tell_each(
                session, sent, started, duration_us, rows, status, in_txn, size
            ):
                return
        if type(query) is str:
            statement = query
            if statement.endswith("*/"):
                statement = without_trailing_comment(statement.encode()).decode()
        else:
            statement = sent.decode("utf-8", "replace")
        context = session.context
        if status == OK:
            session.ran(sent)
        self._observer.executed(
            Execution(
                statement, sent, context, session.database, started, duration_us, rows, status, in_txn, size
            )
        )

    def _tell_each(  # noqa: PLR0913, PLR0917 - as above
        self,
        session: SessionState,
        sent: bytes,
        started: float,
        duration_us: int,
        rows: int | None,
        status: str,
        in_txn: bool,
        size: Callable[[], int | None],
    ) -> bool:
        """Of several statements in one text the server counts each; False if it is one after all."""
        statements = split_statements(sent.decode("utf-8", "replace"))
        if len(statements) < 2:  # noqa: PLR2004 - one
            return False
        last = len(statements) - 1
        for index, statement in enumerate(statements):
            self._tell(
                session,
                statement,
                statement.encode(),
                started,
                duration_us // len(statements),
                rows if index == last else None,
                status,
                in_txn,
                size if index == last else _unknown_size,
            )
        return True

    def _fault(self) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.exception("a query could not be recorded; further faults of this kind are not logged")


def capturing_cursor(watch: Watch) -> type[extensions.cursor]:
    """The class of cursors that tell `watch`; to be the last base before psycopg2's own."""

    class CapturingCursor(extensions.cursor):
        __slots__ = ()

        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name for it
            connection = self.connection
            session = getattr(connection, SESSION)
            in_txn = session.begins(connection.get_transaction_status(), connection.isolation_level)
            started, begun = time.time(), time.perf_counter_ns()
            try:
                super().execute(query, vars)
            except BaseException as error:
                took = time.perf_counter_ns() - begun
                watch.failed(self, session, query, started, took, in_txn, error)
                raise
            watch.ran(self, session, query, started, time.perf_counter_ns() - begun, in_txn)

        def callproc(self, procname: Any, parameters: Any = None) -> Any:
            connection = self.connection
            session = getattr(connection, SESSION)
            in_txn = session.begins(connection.get_transaction_status(), connection.isolation_level)
            started, begun = time.time(), time.perf_counter_ns()
            try:
                result = super().callproc(procname, parameters)
            except BaseException as error:
                took = time.perf_counter_ns() - begun
                watch.failed(self, session, None, started, took, in_txn, error)
                raise
            watch.ran(self, session, None, started, time.perf_counter_ns() - begun, in_txn)
            return result

        def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
            each = _Each(self, watch, query)
            try:
                super().executemany(query, each.of(vars_list))
            except BaseException as error:
                each.failed(error)
                raise

    return CapturingCursor


class _Each:
    """The executions of one `executemany`: each has ended when the parameters of the next are asked for."""

    def __init__(self, cursor: extensions.cursor, watch: Watch, query: object) -> None:
        self._cursor = cursor
        self._watch = watch
        self._query = query
        self._session: SessionState = getattr(cursor.connection, SESSION)
        self._started, self._begun, self._in_txn = time.time(), time.perf_counter_ns(), False

    def of(self, vars_list: Iterable[Any]) -> Iterator[Any]:
        """The same parameters, watched."""
        connection = self._cursor.connection
        for values in vars_list:
            self._in_txn = self._session.begins(
                connection.get_transaction_status(), connection.isolation_level
            )
            self._started, self._begun = time.time(), time.perf_counter_ns()
            yield values
            took = time.perf_counter_ns() - self._begun
            self._watch.ran(self._cursor, self._session, self._query, self._started, took, self._in_txn)

    def failed(self, error: BaseException) -> None:
        """The last one failed, or the parameters for it could not be had."""
        took = time.perf_counter_ns() - self._begun
        self._watch.failed(self._cursor, self._session, self._query, self._started, took, self._in_txn, error)


def _uncommented(sent: bytes) -> bytes:
    if b"/*" in sent:
        sent = without_trailing_comment(sent)
    return without_comments(sent) if b"/*" in sent or b"--" in sent else sent


def _unknown_size() -> None:
    return None
