"""Cursors that tell of what they execute, from directly above psycopg2's own.

The class stands below every other Python class of a cursor, OpenTelemetry's included: it is within the span,
sees the statement as it is sent, and is passed once however many classes stand above it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.queries.capture_psycopg2.relay import Relay
from otel_ratelimit.queries.capture_psycopg2.session import SessionState, effect_of
from otel_ratelimit.queries.execution import Answer, AnswerOf, text_told
from otel_ratelimit.queries.faults import Faults
from otel_ratelimit.queries.fingerprint import MAX_READ_CHARACTERS, split_statements
from otel_ratelimit.queries.fingerprint.comments import without_comments, without_trailing_comment
from otel_ratelimit.queries.records import REFUSED

T = TypeVar("T")

SESSION: Final = "otel_ratelimit_session"
"""The attribute of our connections that holds their `SessionState`."""

_DECLARE: Final = re.compile(
    rb'DECLARE "(?:[^"]++|"")*+" (?:NO SCROLL |SCROLL )?CURSOR (?:WITH|WITHOUT) HOLD FOR ', re.IGNORECASE
)
"""What psycopg2 puts before the query of a named cursor, whose name is often another each time."""
_END: Final = b"; \t\r\n"
_SPECIAL: Final = re.compile(r";|--|/\*")
"""What may begin a comment or end a statement. Values, which psycopg2 quotes, can do neither."""
_MAY_END_STRING: Final = "\\'"
"""Text without it, as the application wrote it, means the same in each session: `SessionState.ambiguous`."""
_MAX_STATEMENTS: Final = 1_000
"""In one text that are told of one by one; one of more is told of once, as `<refused>`."""
_CONNECTION_LOST: Final = "08006"
_MAX_PLAIN: Final = 4_096
_MAX_PLAIN_CHARACTERS: Final = 2_000


class Watch:
    """From calls of a cursor to executions, for the relay's target; no fault of ours is raised.

    Attributes:
        plain: texts that are one statement without comments, and whether that writes; the values that go
            with them change neither.
    """

    def __init__(self, relay: Relay, answer_of: AnswerOf) -> None:
        self.relay = relay
        self.answer_of = answer_of
        self.plain: dict[str, bool] = {}
        self.faults = Faults("a query could not be recorded")

    def begun(self, connection: Any) -> tuple[SessionState | None, bool]:
        """Before a statement: what is known of its connection, and whether its transaction colours a result.

        None where nothing can be known: the connection is closed, which psycopg2 is about to say.
        """
        try:
            session: SessionState | None = getattr(connection, SESSION, None)
            if session is None:
                session = SessionState(connection)
                setattr(connection, SESSION, session)
            status = connection.get_transaction_status()
            in_txn = bool(status or session.is_coloured) and session.begins(
                status, connection.isolation_level
            )
        except Exception as error:  # noqa: BLE001 - the application's query comes first
            self.fault(error, connection)
            return None, False
        return session, in_txn

    def fault(self, error: BaseException, connection: Any) -> None:
        """Something could not be done; said, unless the connection was closed meanwhile, by whomever."""
        if connection is not None and not connection.closed:
            self.faults.say(error)

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
                told = REFUSED.text if ambiguous and ambiguous in text else text
                self._tell(session, told, sent, nanoseconds, in_txn, self.answer_of, cursor)
                self._learn(text)
            else:
                self._ran_otherwise(cursor, session, query, sent, nanoseconds, in_txn, ambiguous)
        except Exception as error:  # noqa: BLE001 - the application has its result, and must get it
            self.fault(error, cursor.connection)

    def _ran_otherwise(
        self,
        cursor: extensions.cursor,
        session: SessionState,
        query: object,
        sent: bytes,
        nanoseconds: int,
        in_txn: bool,
        ambiguous: str,
    ) -> None:
        """What has comments or semicolons, is no text, or belongs to a named cursor."""
        is_named = cursor.name is not None
        answer_of, result = (_unknown, None) if is_named else (self.answer_of, cursor)
        # Before anything is taken off or apart: where a literal ends is what is in doubt.
        if ambiguous and ambiguous.encode() in sent:
            self._tell(session, REFUSED.text, sent, nanoseconds, in_txn, answer_of, result)
            session.doubt(sent)
            return
        sent = _without_frills(sent, is_named=is_named)
        statements = split_statements(_text(sent)) if b";" in sent else ()
        if statements is None or len(statements) > _MAX_STATEMENTS:
            # What it sets is not followed either.
            self._tell(session, REFUSED.text, sent, nanoseconds, in_txn, answer_of, result)
            session.doubt(sent)
            return
        if len(statements) < 2:  # noqa: PLR2004 - one, with a semicolon among its values
            text = _statement(query, sent)
            self._tell(session, text, sent, nanoseconds, in_txn, answer_of, result)
            return
        # The server counts each, and answers with the last one's result.
        share = nanoseconds // len(statements)
        for statement in statements[:-1]:
            self._tell(session, statement, _bytes(statement), share, in_txn, _unknown, None)
        last = statements[-1]
        self._tell(session, last, _bytes(last), share, in_txn, answer_of, result)

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
        """A statement failed; of interest if the server has seen it."""
        try:
            status = getattr(error, "pgcode", None)
            if status is None and isinstance(error, psycopg2.OperationalError):
                status = _CONNECTION_LOST
            sent = cursor.query
            target = self.relay.target
            if status is None or not sent or target is None:
                return
            if ambiguous and ambiguous.encode() in sent:
                statement = REFUSED.text
            else:
                if cursor.name is not None or not isinstance(query, str) or _SPECIAL.search(query):
                    sent = _without_frills(sent, is_named=cursor.name is not None)
                statement = self._text_of_failed(query, sent, status)
            target.executed(statement, sent, session, nanoseconds, in_txn, _unknown, None, status)
        except Exception as fault:  # noqa: BLE001 - the application must get its own error
            self.fault(fault, cursor.connection)

    def _text_of_failed(self, query: object, sent: bytes, status: str) -> str:
        """The text to tell of; of several statements none, as the server may not have looked at the last."""
        if type(query) is str and query in self.plain:
            return query
        if b";" in sent and len(split_statements(_text(sent)) or ()) != 1:
            return REFUSED.text
        return text_told(_statement(query, sent), status)

    def _tell(
        self,
        session: SessionState,
        statement: str,
        sent: bytes,
        nanoseconds: int,
        in_txn: bool,
        answer_of: AnswerOf,
        result: extensions.cursor | None,
    ) -> None:
        target = self.relay.target
        if target is not None:
            target.executed(statement, sent, session, nanoseconds, in_txn, answer_of, result)
        session.ran(sent)

    def _learn(self, text: str) -> None:
        """Remember a text that is plain."""
        is_plain = len(text) <= _MAX_PLAIN_CHARACTERS and _MAY_END_STRING not in text
        effect = effect_of(text) if is_plain else None
        if effect is not None:
            if len(self.plain) >= _MAX_PLAIN:
                # An application that writes its values into the text: what comes again is soon back.
                self.plain.clear()
            self.plain[text] = effect


def capturing_cursor(watch: Watch) -> type[extensions.cursor]:  # noqa: C901 - a class, whose methods count
    """The class of cursors that tell `watch`; to be the last base before psycopg2's own."""
    own_execute, timer = extensions.cursor.execute, time.perf_counter_ns
    relay, plain, answer_of = watch.relay, watch.plain, watch.answer_of

    class CapturingCursor(extensions.cursor):
        __slots__ = ()

        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name for it
            connection: Any = self.connection
            try:
                session = connection.otel_ratelimit_session
                status = connection.get_transaction_status()
                in_txn = (status or session.is_coloured) and session.begins(
                    status, connection.isolation_level
                )
            except Exception:  # noqa: BLE001 - its first statement, or it is closed
                session, in_txn = watch.begun(connection)
            if session is None:
                own_execute(self, query, vars)
                return
            writes = plain.get(query) if type(query) is str and self.name is None else None
            ambiguous = "" if writes is not None else session.ambiguous()
            begun = timer()
            try:
                own_execute(self, query, vars)
            except BaseException as error:
                watch.failed(self, session, query, timer() - begun, in_txn, ambiguous, error)
                raise
            took = timer() - begun
            # From here on as few steps as can be: a known text, which is the rule, is told of at once.
            if writes is not None:
                try:
                    target = relay.target
                    if target is not None:
                        sent: Any = self.query
                        target.executed(query, sent, session, took, in_txn, answer_of, self)
                    if writes:
                        session.wrote()
                except Exception as error:  # noqa: BLE001 - the application has its result, and must get it
                    watch.fault(error, connection)
            else:
                watch.ran(self, session, query, took, in_txn, ambiguous)

        def callproc(self, *args: Any, **kwargs: Any) -> Any:
            with _Run(self, watch).whole():
                return super().callproc(*args, **kwargs)

        def copy_from(self, *args: Any, **kwargs: Any) -> None:
            with _Run(self, watch).whole():
                super().copy_from(*args, **kwargs)

        def copy_to(self, *args: Any, **kwargs: Any) -> None:
            with _Run(self, watch).whole():
                super().copy_to(*args, **kwargs)

        def copy_expert(self, *args: Any, **kwargs: Any) -> None:
            with _Run(self, watch).whole():
                super().copy_expert(*args, **kwargs)

        def executemany(self, query: Any, vars_list: Iterable[Any]) -> None:
            run = _Run(self, watch)
            try:
                super().executemany(query, run.each(query, vars_list))
            except BaseException as error:
                run.failed(query, error)
                raise

    return named_as(CapturingCursor, extensions.cursor)


def named_as(ours: type[T], psycopg2s: type) -> type[T]:
    """`ours`, which says that it is psycopg2's own: who prints an object is to see what it is to him."""
    ours.__name__, ours.__qualname__, ours.__module__ = (
        psycopg2s.__name__,
        psycopg2s.__qualname__,
        psycopg2s.__module__,
    )
    return ours


class _Run:
    """Executions other than those of `execute`, each between `begin` and `ended` or `failed`."""

    def __init__(self, cursor: Any, watch: Watch) -> None:
        self._cursor = cursor
        self._watch = watch
        self.begin()

    def begin(self) -> None:
        self._session, self._in_txn = self._watch.begun(self._cursor.connection)
        self._ambiguous = "" if self._session is None else self._session.ambiguous()
        self._begun = time.perf_counter_ns()

    def ended(self, query: object) -> None:
        took = time.perf_counter_ns() - self._begun
        if self._session is not None:
            self._watch.ran(self._cursor, self._session, query, took, self._in_txn, self._ambiguous)

    def failed(self, query: object, error: BaseException) -> None:
        """It failed, or the parameters for it could not be had."""
        took = time.perf_counter_ns() - self._begun
        if self._session is not None:
            self._watch.failed(self._cursor, self._session, query, took, self._in_txn, self._ambiguous, error)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """One execution, of what psycopg2 makes a statement of."""
        try:
            yield
        except BaseException as error:
            self.failed(None, error)
            raise
        self.ended(None)

    def each(self, query: object, vars_list: Iterable[Any]) -> Iterator[Any]:
        """The same parameters, watched: one execution has ended when those of the next are asked for."""
        for values in vars_list:
            self.begin()
            yield values
            self.ended(query)


def _without_frills(sent: bytes, *, is_named: bool) -> bytes:
    """Without comments, semicolon at the end, and what psycopg2 puts before a named cursor's query."""
    if is_named:
        declared = _DECLARE.match(sent)
        sent = sent if declared is None else sent[declared.end() :]
    if b"/*" in sent:
        sent = without_trailing_comment(sent)
    # In a long one a comment is part of the question: looking for it would take longer than asking.
    if len(sent) <= MAX_READ_CHARACTERS and (b"/*" in sent or b"--" in sent):
        sent = without_comments(sent)
    return sent.rstrip(_END)


def _statement(query: object, sent: bytes) -> str:
    """What code ran: the text as the application wrote it, if it is one."""
    if not isinstance(query, str):
        return _text(sent)
    if query.rstrip().endswith("*/"):
        return without_trailing_comment(query.encode(errors="replace")).decode()
    return str.__str__(query)


def _text(sent: bytes) -> str:
    """As text that can be turned back, whatever the encoding."""
    return sent.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _unknown(_result: object, _is_measured: bool) -> Answer:
    return None, None
