"""Connections of our own, which never wait longer than they were told to and which nobody instruments.

libpq waits for ever where a server has stopped answering, and `statement_timeout` is the server's to
keep. So the connections here are asynchronous, and every wait is a poll with a deadline (psycopg2,
"Asynchronous support").

`psycopg2.connect` is what OpenTelemetry wraps. The connection class itself is not wrapped, so our own
statements make no spans and are never logged as the application's.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import psycopg2
from psycopg2 import errorcodes, extensions

from otel_ratelimit.errors import DatabaseError, DatabaseTimeoutError, SchemaMissingError

CONNECT_SECONDS: Final = 3.0
STATEMENT_SECONDS: Final = 10.0
APPLICATION_NAME: Final = "otel-ratelimit"

_MOST_IDLE: Final = 2
_MISSING: Final = frozenset(
    {
        errorcodes.UNDEFINED_TABLE,
        errorcodes.UNDEFINED_COLUMN,
        errorcodes.UNDEFINED_FUNCTION,
        errorcodes.INVALID_SCHEMA_NAME,
    }
)

Row = tuple[Any, ...]


class _Idle(NamedTuple):
    process: int
    connection: extensions.connection


class Database:
    """One database; connections are opened when needed, kept, and replaced when they break.

    Args:
        url: a `postgresql://` URL or a libpq connection string; or what answers one when a connection is
        opened. connect_seconds: how long to wait for a connection. statement_seconds: how long to wait
        for a statement. monotonic: instead of `time.monotonic`.

    Raises:
        DatabaseError: `url` cannot be understood.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        connect_seconds: float = CONNECT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(url, str):
            self._dsn: Callable[[], str] = partial(str, dsn(url))
        else:
            self._dsn = lambda: dsn(url())
        self._connect_seconds = connect_seconds
        self._statement_seconds = statement_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """Run one statement in a transaction of its own; its rows, none where it returns none.

        Raises:
            SchemaMissingError: a table is not there.
            DatabaseTimeoutError: it took too long.
            DatabaseError: no connection, no answer in time, or refused. Whether a statement that
                writes has been carried out is then not known.
        """
        connection = self._take()
        try:
            rows = self._run(connection, sql, parameters)
        except psycopg2.Error as error:
            self._give_back(connection)
            raise _translated(error) from error
        except BaseException:
            # What is left of the conversation would be taken for the next one's answer.
            connection.close()
            raise
        self._give_back(connection)
        return rows

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
        with self._lock:
            while self._idle:
                process, connection = self._idle.pop()
                if process == os.getpid() and not connection.closed and not _hung_up(connection):
                    return connection
        return self._open()

    def _give_back(self, connection: extensions.connection) -> None:
        if connection.closed:
            return
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(_Idle(os.getpid(), connection))
                return
        connection.close()

    def _open(self) -> extensions.connection:
        text = self._dsn()
        deadline = self._monotonic() + self._connect_seconds
        try:
            connection = extensions.connection(text, async_=True)
            self._wait(connection, deadline, "a connection")
        except psycopg2.Error as error:
            raise _translated(error) from error
        return connection

    def _run(
        self, connection: extensions.connection, sql: str, parameters: Mapping[str, object] | None
    ) -> list[Row]:
        deadline = self._monotonic() + self._statement_seconds
        # So that the server gives up as well. LOCAL: it must not stay behind in a pooler's connection.
        limit = f"SET LOCAL statement_timeout = {int(self._statement_seconds * 1000)};\n"
        with connection.cursor() as cursor:
            cursor.execute(limit + sql, parameters)
            self._wait(connection, deadline, "an answer")
            return cursor.fetchall() if cursor.description else []

    def _wait(self, connection: extensions.connection, deadline: float, what: str) -> None:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            left = deadline - self._monotonic()
            if left <= 0.0 or not _ready(connection, state, left):
                connection.close()
                raise DatabaseTimeoutError(f"the database gave no sign of {what} in time")


def dsn(url: str) -> str:
    """`url` as libpq's connection string, with our name where it gives none.

    Raises:
        DatabaseError: it cannot be understood; says what would be right, and not the password.
    """
    try:
        given = extensions.parse_dsn(url)
    except psycopg2.ProgrammingError:
        raise DatabaseError(
            "the database URL cannot be understood; write postgresql://user:password@host:5432/database,"
            " with / ? # @ : in a password as %2F %3F %23 %40 %3A"
        ) from None
    return str(extensions.make_dsn(**{"fallback_application_name": APPLICATION_NAME, **given}))


def _ready(connection: extensions.connection, state: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
    return bool(waiting.poll(seconds * 1000))


def _hung_up(connection: extensions.connection) -> bool:
    """Whether the server has closed an idle connection, or has something to say that nobody asked for."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if not waiting.poll(0):
        return False
    connection.close()
    return True


def _translated(error: psycopg2.Error) -> DatabaseError:
    if error.pgcode in _MISSING:
        return SchemaMissingError(
            f"the database has not the tables of this version ({_first_line(error)});"
            " run `otel-ratelimit db upgrade`"
        )
    if error.pgcode == errorcodes.QUERY_CANCELED:
        return DatabaseTimeoutError(_first_line(error))
    return DatabaseError(_first_line(error) or type(error).__name__)


def _first_line(error: psycopg2.Error) -> str:
    return str(error).strip().partition("\n")[0]
