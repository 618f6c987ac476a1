"""Database connections with deadlines, which OpenTelemetry does not instrument.

libpq waits for ever if a server stops answering, and `statement_timeout` is enforced by that server. So these
connections are asynchronous, and every wait is a poll with a deadline (psycopg2, "Asynchronous support"). A
caller with less time sets it with `core.deadline.within`.

OpenTelemetry wraps `psycopg2.connect`, but not the connection class. It is used here directly, so that our
own statements make no spans and are never logged as the application's.
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
from otel_ratelimit.core.errors import DatabaseTimeoutError, NoTimeLeftError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.waiting import ready
from otel_ratelimit.postgres.connection_string import dsn, keywords
from otel_ratelimit.postgres.error_translation import connection_error, translated_errors
from otel_ratelimit.postgres.host_addresses import with_addresses

CONNECT_SECONDS: Final = 3.0
STATEMENT_SECONDS: Final = 10.0
_MAX_IDLE: Final = 2

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a statement."""

    rows: list[Row]
    """Empty for a statement that returns no rows."""
    touched: int
    """The number of rows that it returned or changed."""


class OwnConnection(extensions.connection):
    """A connection whose `repr` has no connection string: psycopg2 would show `sslpassword` in it."""

    def __repr__(self) -> str:
        return f"<connection {'closed' if self.closed else 'open'}>"


class Session:
    """A connection that runs one statement after the other."""

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
        """Run a statement, or several separated by semicolons, which form a transaction by default.

        Args:
            statement: with `%(name)s` for the parameters.
            parameters: their values.
            deadline: on the monotonic clock of the `Database`; after it the connection is closed.

        Raises:
            DatabaseTimeoutError: there was no answer in time.
            DatabaseError: it failed.
        """
        with translated_errors(self._connection), self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            if not _finished(self._connection, deadline, self._monotonic):
                self._connection.close()
                raise DatabaseTimeoutError("the database did not answer in time")
            return Answer(cursor.fetchall() if cursor.description else [], cursor.rowcount)

    @property
    def is_open(self) -> bool:
        """Whether it can run more statements."""
        return not self._connection.closed

    def deadline(self, seconds: float) -> float:
        """The moment in `seconds`, or the caller's own deadline if that is earlier; for `run`."""
        return self._monotonic() + seconds_left(seconds)

    def close(self) -> None:
        """Close the connection; it may be closed already."""
        self._connection.close()

    @contextmanager
    def transaction(self, seconds: float) -> Iterator[Transaction]:
        """A transaction that must end within `seconds`.

        Raises:
            DatabaseError: a statement failed, or there was no answer in time.
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
    """An open transaction."""

    session: Session
    deadline: float

    def run(self, statement: str | sql.Composed, parameters: Mapping[str, object] | None = None) -> Answer:
        """Run a statement, as `Session.run` does."""
        return self.session.run(statement, parameters, deadline=self.deadline)


class _Idle(NamedTuple):
    process: int
    connection: extensions.connection


class Database:
    """One database; connections are opened when needed, kept, and replaced when they break.

    Args:
        url: a `postgresql://` URL or a connection string of libpq; or a function that returns one, called
            for each new connection.
        connect_seconds: the limit for opening a connection.
        statement_seconds: the limit for a statement.
        monotonic: instead of `time.monotonic`.

    Raises:
        DatabaseError: `url` is invalid.
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
        """Run one statement in a transaction of its own; its rows.

        Raises:
            SchemaMissingError: a table is missing.
            DatabaseTimeoutError: it took too long.
            NoTimeLeftError: the caller's deadline was over before the statement was sent.
            DatabaseError: no connection, no answer in time, or the statement failed. It is then unknown
                whether a statement that writes was executed.
        """
        # So that the server stops as well. LOCAL: the setting must not stay on a pooler's connection.
        with self.session() as session:
            seconds = seconds_left(self._statement_seconds)
            limit = f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1)};\n"
            return session.run(limit + statement, parameters, deadline=self._monotonic() + seconds).rows

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for exclusive use; kept for later use, unless an exception occurs.

        Raises:
            DatabaseUnreachableError: no connection could be opened.
            NoTimeLeftError: the caller's deadline is over.
        """
        _check_time()
        connection = self._take()
        try:
            _check_time()  # connecting took some of it
        except NoTimeLeftError:
            self._give_back(connection)
            raise
        try:
            yield Session(connection, self._monotonic)
        except BaseException:
            # Unread answers would be taken for the answer to the next statement; and what failed because the
            # session is read-only, or the role lacks a right, may succeed in another session.
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close the idle connections; the next statement opens a new one."""
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
            # Not with the lock held: with gevent even this check lets other greenlets run.
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


def _check_time() -> None:
    if is_over():
        raise NoTimeLeftError("no time was left to query the database")


def _finished(connection: extensions.connection, deadline: float, monotonic: Callable[[], float]) -> bool:
    """Wait until `connection` has finished its work; False if the deadline passes first."""
    while (state := connection.poll()) != extensions.POLL_OK:
        left = deadline - monotonic()
        if left <= 0.0 or not _ready(connection, state, left):
            return False
    return True


def _ready(connection: extensions.connection, state: int, seconds: float) -> bool:
    return ready(connection.fileno(), seconds, to_write=state != extensions.POLL_READ)


def _hung_up(connection: extensions.connection) -> bool:
    """Whether the server has closed an idle connection, or has sent an unrequested message."""
    if not ready(connection.fileno(), 0.0):
        return False
    connection.close()
    return True
