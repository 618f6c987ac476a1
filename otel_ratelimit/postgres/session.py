"""Connections for work on the schema itself: synchronous, and with errors that say what to do.

That work may take long, so not every answer is waited for with a deadline as in `connection`. A server that
is gone is noticed by TCP's own means, and one that is silent by `hung_up_after`, where waiting would do harm.

`extensions.connection` rather than `psycopg2.connect`, which OpenTelemetry wraps: our own statements make no
spans and are never logged as the application's.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg2
from psycopg2 import errors, extensions

from otel_ratelimit.errors import DatabaseError, SchemaMissingError
from otel_ratelimit.postgres.connection import dsn

_CONNECT: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_REMEDIES: Final = (
    ("password authentication failed", "check the user and the password in the URL"),
    ("no password supplied", "the URL needs a password: postgresql://user:password@host:5432/database"),
    ("no pg_hba.conf entry", "pg_hba.conf of the server has to let this user in from here"),
    ("Connection refused", "check host and port, and that PostgreSQL runs there"),
    ("No such file or directory", "check host and port, and that PostgreSQL runs there"),
    ("could not translate host name", "check the host's name"),
    ("timeout expired", "nothing answers there: check host, port and firewall"),
    ("starting up", "try again in a moment"),
)
"""What libpq says (no SQLSTATE comes with a refused connection), and what to do then."""


@contextmanager
def session(url: str) -> Iterator[extensions.connection]:
    """A connection to `url`, closed afterwards; what psycopg2 raises meanwhile comes out translated.

    Raises:
        DatabaseError: no connection, or the database refused something.
    """
    text = dsn(url)
    given = extensions.parse_dsn(text)
    if _misread(given):
        raise DatabaseError(
            "the database URL cannot be understood; write postgresql://user:password@host:5432/database,"
            " with / ? # @ : in a password as %2F %3F %23 %40 %3A"
        )
    settings = {**_CONNECT, **given}
    try:
        connection = extensions.connection(extensions.make_dsn(**settings))
    except psycopg2.OperationalError as error:
        raise _no_connection(given, error) from None  # its context would repeat the message, not add to it
    try:
        with translated(connection):
            yield connection
    finally:
        connection.close()


@contextmanager
def hung_up_after(connection: extensions.connection, seconds: float) -> Iterator[None]:
    """Let go of `connection` when this takes longer: libpq would wait for a silent server for ever.

    Raises:
        DatabaseError: it took longer; the connection is closed.
    """
    fired = threading.Event()
    # A descriptor of its own, which cannot have become another file's meanwhile.
    with socket.socket(fileno=os.dup(connection.fileno())) as line:

        def hang_up() -> None:
            fired.set()
            with suppress(OSError):  # the other side was quicker
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except psycopg2.Error as error:
            if not fired.is_set():
                raise
            connection.close()
            raise DatabaseError(f"the database gave no answer within {seconds:g} s") from error
        finally:
            timer.cancel()
            timer.join()


@contextmanager
def translated(connection: extensions.connection) -> Iterator[None]:
    """Raise as `DatabaseError` what psycopg2 raises on `connection`."""
    try:
        yield
    except psycopg2.Error as error:
        raise _refused(connection, error) from error


def _misread(given: dict[str, str]) -> bool:
    """Whether a part of the password has become part of something else, which messages would show."""
    port = given.get("port", "0").replace(",", "")
    return not port.isdigit() or "@" in given.get("host", "") + given.get("dbname", "")


def _no_connection(given: dict[str, str], error: psycopg2.OperationalError) -> DatabaseError:
    said = " ".join(str(error).split())
    database, user = given.get("dbname", ""), given.get("user", "")
    place = given.get("host") or given.get("hostaddr") or "the local socket"
    remedy = next((advice for sign, advice in _REMEDIES if sign in said), "")
    if said.endswith("does not exist"):
        thing, name = ("database", database) if "database" in said else ("role", user)
        remedy = f'make it first: CREATE {thing.upper()} "{name}"'
    return DatabaseError(
        f"cannot connect to database {database or '(named as the user)'} at {place}, port"
        f" {given.get('port', '5432')}, as user {user or '(the operating system user)'}: {said}"
        + (f"; {remedy}" if remedy else "")
    )


def _refused(connection: extensions.connection, error: psycopg2.Error) -> DatabaseError:
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, errors.InsufficientPrivilege):
        info = connection.info
        if said.startswith("permission denied for database"):
            remedy = f'grant it: GRANT CREATE ON DATABASE "{info.dbname}" TO "{info.user}"'
        else:
            remedy = f'do this as the owner of the schema otel_ratelimit rather than as "{info.user}"'
        return DatabaseError(f"{said}; {remedy}")
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
        return SchemaMissingError(f"{said}; run `otel-ratelimit db upgrade`")
    if isinstance(error, errors.LockNotAvailable):
        return DatabaseError(f"{said}: something is in use; try again, or end what uses it")
    if isinstance(error, errors.DependentObjectsStillExist):
        detail = error.diag.message_detail or ""
        return DatabaseError(f"{said}: {'; '.join(detail.splitlines())}; drop those first")
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return DatabaseError(f"{said}; this is a replica, or the database is read only: name the primary")
    return DatabaseError(said)
