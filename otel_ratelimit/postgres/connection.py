"""Connections of our own, which never wait longer than they were told to and which nobody instruments.

libpq waits for ever where a server has stopped answering, and `statement_timeout` is the server's to
keep. So the connections here are asynchronous, and every wait is a poll with a deadline (psycopg2,
"Asynchronous support"). A caller who has less time than these waits have of their own says so with
`core.deadline.within`.

`psycopg2.connect` is what OpenTelemetry wraps. The connection class itself is not wrapped, so our own
statements make no spans and are never logged as the application's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import psycopg2
from psycopg2 import extensions, sql

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import is_over, seconds_left, within
from otel_ratelimit.core.errors import DatabaseError, DatabaseTimeoutError, NoTimeLeftError
from otel_ratelimit.core.secret import HiddenValues, Secret
from otel_ratelimit.core.waiting import ready
from otel_ratelimit.postgres.error_translation import connection_error, translated_errors
from otel_ratelimit.postgres.host_addresses import with_addresses

CONNECT_SECONDS: Final = 3.0
STATEMENT_SECONDS: Final = 10.0
APPLICATION_NAME: Final = "otel-ratelimit"

_MAX_IDLE: Final = 2

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement came to."""

    rows: list[Row]
    """None where it returns none."""
    touched: int
    """Rows that it returned or changed."""


class OwnConnection(extensions.connection):
    """Represented without its connection string, of which psycopg2 hides `password` but not `sslpassword`."""

    def __repr__(self) -> str:
        return f"<connection {'closed' if self.closed else 'open'}>"


class Session:
    """A connection, on which one statement runs after the other."""

    def __init__(self, connection: extensions.connection, monotonic: Callable[[], float]) -> None:
        self._connection = connection
        self._monotonic = monotonic

    def run(
        self,
        statement: str | sql.Composed,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline: float,
    ) -> Answer:
        """Run a statement, or several with semicolons between, which are a transaction unless they say other.

        Args:
            statement: with `%(name)s` for the parameters.
            parameters: their values.
            deadline: on the clock of the database; the connection is closed when it is over.

        Raises:
            DatabaseError: it was refused; `DatabaseTimeoutError`: there was no answer in time.
        """
        with translated_errors(self._connection), self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            if not _finished(self._connection, deadline, self._monotonic):
                self._connection.close()
                raise DatabaseTimeoutError("the database gave no sign of an answer in time")
            return Answer(cursor.fetchall() if cursor.description else [], cursor.rowcount)

    @property
    def is_open(self) -> bool:
        """Whether more can be run on it."""
        return not self._connection.closed

    def deadline(self, seconds: float) -> float:
        """The moment in `seconds`, or when the caller's time is over, for `run`."""
        return self._monotonic() + seconds_left(seconds)

    def close(self) -> None:
        """Close the connection, with all that the server keeps for it; it may be closed already."""
        self._connection.close()

    @contextmanager
    def transaction(self, seconds: float) -> Iterator[Transaction]:
        """Statements of which all or none are carried out, within `seconds`.

        Raises:
            DatabaseError: one of them was refused, or there was no answer in time.
        """
        transaction = Transaction(self, self.deadline(seconds))
        transaction.run("BEGIN")
        try:
            yield transaction
        except BaseException:
            if not self._connection.closed:
                transaction.run("ROLLBACK")
            raise
        transaction.run("COMMIT")


class Transaction(NamedTuple):
    """What can be done within one."""

    session: Session
    deadline: float

    def run(self, statement: str | sql.Composed, parameters: Mapping[str, object] | None = None) -> Answer:
        """As `Session.run`."""
        return self.session.run(statement, parameters, deadline=self.deadline)


class _Idle(NamedTuple):
    process: int
    connection: extensions.connection


class Database:
    """One database; connections are opened when needed, kept, and replaced when they break.

    Args:
        url: a `postgresql://` URL or a libpq connection string; or what answers one when a connection is
            opened.
        connect_seconds: how long to wait for a connection.
        statement_seconds: how long to wait for a statement.
        monotonic: instead of `time.monotonic`.

    Raises:
        DatabaseError: `url` cannot be understood.
    """

    def __init__(
        self,
        url: str | Secret | Callable[[], str | Secret],
        *,
        connect_seconds: float = CONNECT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        monotonic: Callable[[], float] = monotonic_time,
    ) -> None:
        if isinstance(url, str | Secret):
            fixed = dsn(url)
            self._dsn: Callable[[], Secret] = lambda: fixed
        else:
            self._dsn = lambda: dsn(url())
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []

    def rows(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Run one statement in a transaction of its own; its rows, none where it returns none.

        Raises:
            SchemaMissingError: a table is not there.
            DatabaseTimeoutError: it took too long.
            NoTimeLeftError: the caller's deadline was over before the statement was sent.
            DatabaseError: no connection, no answer in time, or refused. Whether a statement that
                writes has been carried out is then not known.
        """
        # So that the server gives up as well. LOCAL: it must not stay behind in a pooler's connection.
        with self.session() as session:
            seconds = seconds_left(self._statement_seconds)
            limit = f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1)};\n"
            return session.run(limit + statement, parameters, deadline=self._monotonic() + seconds).rows

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for oneself; kept for others afterwards, unless something went wrong on it.

        Raises:
            DatabaseUnreachableError: there is none.
            NoTimeLeftError: the caller's deadline is over.
        """
        _check_time()
        connection = self._take()
        try:
            _check_time()  # to connect takes its share
        except NoTimeLeftError:
            self._give_back(connection)
            raise
        try:
            yield Session(connection, self._monotonic)
        except BaseException:
            # What is left of the conversation would be taken for the next one's answer; and what was refused
            # because the session is read only, or the role has no right, may go well in another.
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close the connections that are kept; the next statement opens another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process, connection in idle:
            if process == os.getpid():
                connection.close()

    def reset_after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._lock = threading.Lock()
        self._idle = []

    def _take(self) -> extensions.connection:
        while (kept := self._take_idle()) is not None:
            process, connection = kept
            # Not with the lock held: below gevent even a look lets others run.
            if process == os.getpid() and not connection.closed and not _hung_up(connection):
                return connection
        return self._open()

    def _take_idle(self) -> _Idle | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: extensions.connection) -> None:
        if connection.closed:
            return
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(_Idle(os.getpid(), connection))
                return
        connection.close()

    def _open(self) -> extensions.connection:
        given = keywords(self._dsn())
        with within(self._connect_seconds):
            return self._connected(given, seconds_left())

    def _connected(self, given: Mapping[str, str], seconds: float) -> extensions.connection:
        deadline = self._monotonic() + seconds
        places = with_addresses(given, os.environ, seconds)
        try:
            connection = OwnConnection(extensions.make_dsn(**places), async_=True)
            if _finished(connection, deadline, self._monotonic):
                return connection
            connection.close()
        except psycopg2.Error as error:
            raise connection_error(given, str(error)) from None  # its context would repeat the message
        raise connection_error(given, f"no answer within {round(seconds, 1):g} s")


def keywords(connection_string: Secret) -> HiddenValues[str]:
    """Libpq's keywords in what `dsn` has made."""
    return HiddenValues(extensions.parse_dsn(connection_string.reveal()))


def dsn(url: str | Secret) -> Secret:
    """`url` as libpq's connection string, with our name where it gives none.

    Raises:
        DatabaseError: it cannot be understood; says what would be right, and not the password.
    """
    url = Secret.of(url)
    given: HiddenValues[str] | None
    try:
        given = keywords(url)
    except psycopg2.ProgrammingError:
        given = None
    if given is None or _misread(given):
        raise DatabaseError(
            "the database URL cannot be understood; write postgresql://user:password@host:5432/database,"
            " with / ? # @ : in a password as %2F %3F %23 %40 %3A"
        )
    return Secret(extensions.make_dsn(**{"fallback_application_name": APPLICATION_NAME, **given}))


def _check_time() -> None:
    if is_over():
        raise NoTimeLeftError("no time was left to ask the database")


def _misread(given: Mapping[str, str]) -> bool:
    """Whether a part of the password has become part of something else, which messages would show."""
    port = given.get("port", "0").replace(",", "")
    return not port.isdigit() or "@" in given.get("host", "") + given.get("dbname", "")


def _finished(connection: extensions.connection, deadline: float, monotonic: Callable[[], float]) -> bool:
    """Wait for what `connection` is at; False when `deadline` is over."""
    while (state := connection.poll()) != extensions.POLL_OK:
        left = deadline - monotonic()
        if left <= 0.0 or not _ready(connection, state, left):
            return False
    return True


def _ready(connection: extensions.connection, state: int, seconds: float) -> bool:
    return ready(connection.fileno(), seconds, to_write=state != extensions.POLL_READ)


def _hung_up(connection: extensions.connection) -> bool:
    """Whether the server has closed an idle connection, or has something to say that nobody asked for."""
    if not ready(connection.fileno(), 0.0):
        return False
    connection.close()
    return True
