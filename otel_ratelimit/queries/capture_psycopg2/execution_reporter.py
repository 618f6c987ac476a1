"""From calls of a cursor to executions, which are reported to the capture's observer."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.queries.capture_psycopg2.capture_target import CaptureTarget
from otel_ratelimit.queries.capture_psycopg2.sent_text import decoded, encoded, question_of, written_text
from otel_ratelimit.queries.capture_psycopg2.session_state import SessionState
from otel_ratelimit.queries.capture_psycopg2.statement_effects import writes_if_plain
from otel_ratelimit.queries.execution import ResultSize, ResultSizeReader
from otel_ratelimit.queries.failed_statements import recordable_text
from otel_ratelimit.queries.fingerprint import split_statements
from otel_ratelimit.queries.internal_errors import InternalErrors
from otel_ratelimit.queries.records import UNREADABLE

SESSION: Final = "otel_ratelimit_session"
"""The attribute of captured connections that holds their `SessionState`."""

_SPECIAL: Final = re.compile(r";|--|/\*")
"""These may start a comment or end a statement. Values, which psycopg2 quotes, can do neither."""
_MAY_END_STRING: Final = "\\'"
"""A text without it, as the application wrote it, is clear in each session: see `SessionState.ambiguous`."""
_MAX_STATEMENTS: Final = 1_000
"""Statements in one text that are reported one by one. A text with more is reported once, as `UNREADABLE`."""
_CONNECTION_LOST: Final = "08006"
_MAX_PLAIN: Final = 4_096
_MAX_PLAIN_CHARACTERS: Final = 2_000


class ExecutionReporter:
    """Reports executions to the target's observer. It never raises an error of its own.

    Attributes:
        plain: texts that are one statement without comments, and whether it writes. The values that go with
            them change neither.
    """

    def __init__(self, target: CaptureTarget, size_of: ResultSizeReader) -> None:
        self.target = target
        self.size_of = size_of
        self.plain: dict[str, bool] = {}
        self._errors = InternalErrors("a query could not be recorded")

    def begun(self, connection: Any) -> tuple[SessionState | None, bool]:
        """Called before a statement.

        Returns:
            The state of its connection, and whether its transaction may change its result. The state is None
            if it cannot be known: the connection is closed, and psycopg2 is about to raise that.
        """
        with _Guard(self, connection):
            session: SessionState | None = getattr(connection, SESSION, None)
            if session is None:
                session = SessionState(connection)
                setattr(connection, SESSION, session)
            status = connection.get_transaction_status()
            in_txn = bool(status or session.has_changes) and session.begins(
                status, connection.isolation_level
            )
            return session, in_txn
        return None, False

    def internal_error(self, error: BaseException, connection: Any) -> None:
        """Log an error of ours, unless another thread has closed the connection meanwhile."""
        if connection is not None and not connection.closed:
            self._errors.log(error)

    def ran(
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        nanoseconds: int,
        in_txn: bool,
        ambiguous: str,
    ) -> None:
        """A statement succeeded whose text is not in `plain`; `ambiguous` as the session was before it."""
        try:
            sent = cursor.query
            if not sent:
                return
            if cursor.name is None and isinstance(query, str) and not _SPECIAL.search(query):
                text = str.__str__(query)
                statement = UNREADABLE.text if ambiguous and ambiguous in text else text
                self._report(session, statement, sent, nanoseconds, in_txn, self.size_of, cursor)
                self._learn(text)
            else:
                self._ran_special(cursor, session, query, sent, nanoseconds, in_txn, ambiguous)
        except Exception as error:  # noqa: BLE001 - the application must get its result
            self.internal_error(error, cursor.connection)

    def _ran_special(
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        sent: bytes,
        nanoseconds: int,
        in_txn: bool,
        ambiguous: str,
    ) -> None:
        """A statement succeeded that has comments or semicolons, is no text, or belongs to a named cursor."""
        is_named = cursor.name is not None
        size_of, result = (_unknown, None) if is_named else (self.size_of, cursor)
        # Before the text is taken apart: it is in doubt where a literal ends.
        if ambiguous and ambiguous.encode() in sent:
            self._report(session, UNREADABLE.text, sent, nanoseconds, in_txn, size_of, result)
            session.doubt(sent)
            return
        sent = question_of(sent, is_named=is_named)
        statements = split_statements(decoded(sent)) if b";" in sent else ()
        if statements is None or len(statements) > _MAX_STATEMENTS:
            # The settings that it may change are not followed either.
            self._report(session, UNREADABLE.text, sent, nanoseconds, in_txn, size_of, result)
            session.doubt(sent)
            return
        if len(statements) <= 1:  # the semicolon is in a value
            text = written_text(query, sent)
            self._report(session, text, sent, nanoseconds, in_txn, size_of, result)
            return
        # The server counts each, and answers with the result of the last one.
        share = nanoseconds // len(statements)
        for statement in statements[:-1]:
            self._report(session, statement, encoded(statement), share, in_txn, _unknown, None)
        last = statements[-1]
        self._report(session, last, encoded(last), share, in_txn, size_of, result)

    def failed(
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        nanoseconds: int,
        in_txn: bool,
        ambiguous: str,
        error: BaseException,
    ) -> None:
        """A statement failed. It is reported if the server has seen it."""
        with _Guard(self, cursor.connection):
            status = getattr(error, "pgcode", None)
            if status is None and isinstance(error, psycopg2.OperationalError):
                status = _CONNECTION_LOST
            sent = cursor.query
            observer = self.target.observer
            if status is None or not sent or observer is None:
                return
            if ambiguous and ambiguous.encode() in sent:
                statement = UNREADABLE.text
            else:
                if cursor.name is not None or not isinstance(query, str) or _SPECIAL.search(query):
                    sent = question_of(sent, is_named=cursor.name is not None)
                statement = self._text_of_failed(query, sent, status)
            observer.executed(statement, sent, session, nanoseconds, in_txn, _unknown, None, status)

    def _text_of_failed(self, query: object, sent: bytes, status: str) -> str:
        """The text to report: none for several statements, as the server may not have read the last one."""
        if type(query) is str and query in self.plain:
            return query
        if b";" in sent and len(split_statements(decoded(sent)) or ()) != 1:
            return UNREADABLE.text
        return recordable_text(written_text(query, sent), status)

    def _report(
        self,
        session: SessionState,
        statement: str,
        sent: bytes,
        nanoseconds: int,
        in_txn: bool,
        size_of: ResultSizeReader,
        result: extensions.cursor | None,
    ) -> None:
        observer = self.target.observer
        if observer is not None:
            observer.executed(statement, sent, session, nanoseconds, in_txn, size_of, result)
        session.ran(sent)

    def _learn(self, text: str) -> None:
        """Remember a text that is plain."""
        is_short = len(text) <= _MAX_PLAIN_CHARACTERS and _MAY_END_STRING not in text
        writes = writes_if_plain(text) if is_short else None
        if writes is not None:
            if len(self.plain) >= _MAX_PLAIN:
                # The application writes values into its texts. Texts that come again are soon back.
                self.plain.clear()
            self.plain[text] = writes


class _Guard:
    """Logs an error of ours: the application's query comes first."""

    __slots__ = ("_connection", "_reporter")

    def __init__(self, reporter: ExecutionReporter, connection: Any) -> None:
        self._reporter = reporter
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._reporter.internal_error(error, self._connection)
        return True


def _unknown(_result: object, _is_measured: bool) -> ResultSize:
    return None, None
