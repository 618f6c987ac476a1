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

from otel_ratelimit.capture.relay import Relay
from otel_ratelimit.capture.session import SessionState
from otel_ratelimit.fingerprint import split_statements
from otel_ratelimit.fingerprint.comments import without_comments, without_trailing_comment
from otel_ratelimit.querylog.execution import OK, Execution, SizeOf

_log = logging.getLogger(__name__)

SESSION: Final = "otel_ratelimit_session"
"""The attribute of our connections that holds their `SessionState`."""

_DECLARE: Final = re.compile(
    rb'DECLARE "(?:[^"]|"")*" (?:NO SCROLL |SCROLL )?CURSOR (?:WITH|WITHOUT) HOLD FOR ', re.IGNORECASE
)
"""What psycopg2 puts before the query of a named cursor, whose name is often another each time."""
_END: Final = b"; \t\r\n"
_CONNECTION_LOST: Final = "08006"
_execution: Final[Callable[[tuple[Any, ...]], Execution]] = partial(tuple.__new__, Execution)
"""Half the time of calling the class."""
_MOST_HARMLESS: Final = 4_096


class Watch:
    """From calls of a cursor to executions, for the relay's target; no fault of ours is raised."""

    def __init__(self, relay: Relay, size_of: SizeOf) -> None:
        self._relay = relay
        self._size_of = size_of
        self._harmless: dict[str, None] = {}
        """Texts that leave a session as it is, whatever their parameters."""
        self._has_failed = False

    def ran(
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        nanoseconds: int,
        in_txn: bool,
    ) -> None:
        """A statement succeeded."""
        try:
            sent = cursor.query
            if not sent:
                return
            if (
                type(query) is not str
                or b";" in sent
                or b"--" in sent
                or b"/*" in sent
                or cursor.name is not None
            ):
                self._ran_otherwise(cursor, session, query, sent, nanoseconds // 1000, in_txn)
                return
            context = session.context
            if query not in self._harmless:
                self._follow(session, query, sent)
            target = self._relay.target
            if target is not None:
                rows = cursor.rowcount
                execution = _execution(
                    (
                        query,
                        sent,
                        context,
                        session.database,
                        None,
                        nanoseconds // 1000,
                        rows if rows >= 0 else None,
                        OK,
                        in_txn,
                    )
                )
                target.executed(execution, self._size_of, cursor)
        except Exception:  # noqa: BLE001 - the application has its result, and must get it
            self._fault()

    def failed(  # noqa: PLR0913, PLR0917 - as above
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
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
            sent = _uncommented(_undeclared(sent) if cursor.name is not None else sent).rstrip(_END)
            self._tell(session, _statement(query, sent), sent, nanoseconds // 1000, None, status, in_txn)
        except Exception:  # noqa: BLE001 - the application must get its own error
            self._fault()

    def _ran_otherwise(  # noqa: PLR0913, PLR0917 - as above
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        sent: bytes,
        duration_us: int,
        in_txn: bool,
    ) -> None:
        """What is not one plain text without comments and semicolons."""
        is_named = cursor.name is not None
        sent = _uncommented(_undeclared(sent) if is_named else sent).rstrip(_END)
        statements = split_statements(sent.decode("utf-8", "replace")) if b";" in sent else ()
        rows = cursor.rowcount
        rows_known = rows if rows >= 0 else None
        result = None if is_named else cursor
        if len(statements) < 2:  # noqa: PLR2004 - one, with a semicolon among its values
            statement = _statement(query, sent)
            self._tell(session, statement, sent, duration_us, rows_known, OK, in_txn, result)
            return
        # The server counts each, and answers with the last one's result.
        share = duration_us // len(statements)
        for statement in statements[:-1]:
            self._tell(session, statement, statement.encode(), share, None, OK, in_txn)
        last = statements[-1]
        self._tell(session, last, last.encode(), share, rows_known, OK, in_txn, result)

    def _tell(  # noqa: PLR0913, PLR0917 - as above
        self,
        session: SessionState,
        statement: str,
        sent: bytes,
        duration_us: int,
        rows: int | None,
        status: str,
        in_txn: bool,
        result: extensions.cursor | None = None,
    ) -> None:
        context = session.context
        if status == OK:
            session.ran(sent)
        target = self._relay.target
        if target is not None:
            execution = Execution(
                statement, sent, context, session.database, None, duration_us, rows, status, in_txn
            )
            target.executed(execution, _unknown if result is None else self._size_of, result)

    def _follow(self, session: SessionState, query: str, sent: bytes) -> None:
        session.ran(sent)
        if SessionState.is_harmless(sent) and len(self._harmless) < _MOST_HARMLESS:
            self._harmless[query] = None

    def _fault(self) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.exception("a query could not be recorded; further faults of this kind are not logged")


def capturing_cursor(watch: Watch) -> type[extensions.cursor]:
    """The class of cursors that tell `watch`; to be the last base before psycopg2's own."""
    own_execute, timer, ran = extensions.cursor.execute, time.perf_counter_ns, watch.ran

    class CapturingCursor(extensions.cursor):
        __slots__ = ()

        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name for it
            connection: Any = self.connection
            session = connection.otel_ratelimit_session
            status = connection.get_transaction_status()
            in_txn = (status or session.is_coloured) and session.begins(status, connection.isolation_level)
            begun = timer()
            try:
                own_execute(self, query, vars)
            except BaseException as error:
                watch.failed(self, session, query, timer() - begun, in_txn, error)
                raise
            ran(self, session, query, timer() - begun, in_txn)

        def callproc(self, procname: Any, parameters: Any = None) -> Any:
            connection: Any = self.connection
            session = connection.otel_ratelimit_session
            in_txn = session.begins(connection.get_transaction_status(), connection.isolation_level)
            begun = timer()
            try:
                result = super().callproc(procname, parameters)
            except BaseException as error:
                watch.failed(self, session, None, timer() - begun, in_txn, error)
                raise
            ran(self, session, None, timer() - begun, in_txn)
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
        self._begun, self._in_txn = time.perf_counter_ns(), False

    def of(self, vars_list: Iterable[Any]) -> Iterator[Any]:
        """The same parameters, watched."""
        connection = self._cursor.connection
        for values in vars_list:
            self._in_txn = self._session.begins(
                connection.get_transaction_status(), connection.isolation_level
            )
            self._begun = time.perf_counter_ns()
            yield values
            took = time.perf_counter_ns() - self._begun
            self._watch.ran(self._cursor, self._session, self._query, took, self._in_txn)

    def failed(self, error: BaseException) -> None:
        """The last one failed, or the parameters for it could not be had."""
        took = time.perf_counter_ns() - self._begun
        self._watch.failed(self._cursor, self._session, self._query, took, self._in_txn, error)


def _uncommented(sent: bytes) -> bytes:
    if b"/*" in sent:
        sent = without_trailing_comment(sent)
    return without_comments(sent) if b"/*" in sent or b"--" in sent else sent


def _undeclared(sent: bytes) -> bytes:
    return _DECLARE.sub(b"", sent, count=1)


def _statement(query: object, sent: bytes) -> str:
    """What code ran: the text as the application wrote it, if it is one."""
    if not isinstance(query, str):
        return sent.decode("utf-8", "replace")
    if query.rstrip().endswith("*/"):
        return without_trailing_comment(query.encode(errors="replace")).decode()
    return query


def _unknown(_result: object) -> None:
    return None
