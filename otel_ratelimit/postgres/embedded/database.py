"""`OTEL_RATELIMIT_DATABASE_URL=embedded:/a/folder`: a database for development that starts when it is needed.

Several processes may use the same folder. The process that holds its lock runs the server until it ends; the
others connect as soon as the tables exist. When the server is gone, the next process starts it again.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.core.deadline import seconds_left
from otel_ratelimit.core.errors import DatabaseError, DatabaseUnreachableError, RemediableError
from otel_ratelimit.core.secret import HiddenEnvironment, Secret
from otel_ratelimit.core.waiting import LateLock, ready
from otel_ratelimit.postgres.embedded.server import START_TIMEOUT_SECONDS, EmbeddedPostgres, socket_dsn

SCHEME: Final = "embedded:"
DEFAULT_FOLDER: Final = ".otel-ratelimit"
"""In the working directory."""
_PREPARING: Final = "preparing"
"""A file that is locked while a server starts and its tables are made."""
_ANSWER_SECONDS: Final = 2.0
_START_SECONDS: Final = 2.0
"""With less time than this a caller does not start a server, because it would not be ready in time."""


def is_embedded(url: str | Secret) -> bool:
    """Whether `url` asks for an embedded database."""
    return Secret.of(url).reveal().startswith(SCHEME)


class EmbeddedDatabase:
    """The database in one folder.

    Args:
        url: `embedded:` or `embedded:/a/folder`.
        prepare: called with the database's URL when this process has started the server; creates the tables.
        environ: the environment to start the server in.
    """

    def __init__(
        self, url: str | Secret, prepare: Callable[[str], object], environ: Mapping[str, str]
    ) -> None:
        self._folder = Path(Secret.of(url).reveal().removeprefix(SCHEME) or DEFAULT_FOLDER).absolute()
        self._prepare = prepare
        self._environ = HiddenEnvironment(environ)
        self._starting = LateLock()
        self._server: EmbeddedPostgres | None = None
        self._lock: IO[bytes] | None = None

    def url(self) -> str:
        """The URL to connect to; starts the server if none runs.

        Raises:
            DatabaseError: it cannot be started, or another process does not finish starting it in time.
        """
        if not self._starting.acquire_in_time():
            raise DatabaseUnreachableError(f"the database in {self._folder} is still being started")
        try:
            return self._url(socket_dsn(self._folder / "socket"))
        finally:
            self._starting.release()

    def _url(self, url: str) -> str:
        deadline = time.monotonic() + seconds_left(START_TIMEOUT_SECONDS)
        while not (_answers(url) and self._is_prepared()):
            if seconds_left() < _START_SECONDS:
                raise DatabaseUnreachableError(f"the database in {self._folder} does not answer in time")
            if self._take_lock():
                self._start()
                return url
            if time.monotonic() > deadline:
                raise DatabaseError(f"the server of another process in {self._folder} does not answer")
            time.sleep(0.05)
        return url

    def close(self) -> None:
        """Stop the server if this process started it; does nothing while another thread is starting it."""
        if not self._starting.acquire_in_time():
            return  # the server ends with this process
        try:
            if self._server is not None:
                self._server.stop()
                self._server = None
            if self._lock is not None:
                self._lock.close()
                self._lock = None
        finally:
            self._starting.release()

    def reset_after_fork(self) -> None:
        """Leave the server and its lock to the parent."""
        self._starting = LateLock()
        # Closing the file here would not release the parent's lock.
        self._server, self._lock = None, None

    def _take_lock(self) -> bool:
        if self._lock is not None:
            return True  # the server of this process has ended
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / ".gitignore").write_text("*\n", encoding="utf-8")
            lock = (self._folder / "lock").open("ab")
        except OSError as error:
            raise DatabaseError(f"{self._folder} cannot be used for a database: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _start(self) -> None:
        if self._server is not None:
            self._server.stop()
        server = EmbeddedPostgres(self._folder / "data", self._folder, environ=self._environ)
        with self._preparing():
            try:
                server.start()
                self._prepare(server.dsn())
            except BaseException as error:
                server.stop()  # else other processes would use it without tables
                if isinstance(error, RemediableError):
                    raise DatabaseError(str(error)) from error
                raise
        self._server = server

    @contextmanager
    def _preparing(self) -> Iterator[None]:
        """Make other processes wait until the server accepts connections and has the tables."""
        with (self._folder / _PREPARING).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked meanwhile keeps the file open

    def _is_prepared(self) -> bool:
        """Whether the process that started the server has created the tables."""
        try:
            with (self._folder / _PREPARING).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # the file does not exist
        return True


def _answers(url: str) -> bool:
    """Whether a server accepts connections and answers."""
    deadline = time.monotonic() + seconds_left(_ANSWER_SECONDS)
    try:
        connection = extensions.connection(url, async_=True)
        try:
            while (state := connection.poll()) != extensions.POLL_OK:
                left = deadline - time.monotonic()
                if left <= 0.0 or not ready(
                    connection.fileno(), left, to_write=state != extensions.POLL_READ
                ):
                    return False
        finally:
            connection.close()
    except psycopg2.OperationalError:
        return False
    return True
