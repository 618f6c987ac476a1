"""Translates errors of libpq, PostgreSQL and PgBouncer into `DatabaseError` with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg2
from psycopg2 import errorcodes, errors, extensions

from otel_ratelimit.core.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
    DataRejectedError,
    SchemaMissingError,
)

_REMEDIES: Final = (
    ("password authentication failed", "check the user and the password in the URL"),
    ("no password supplied", "the URL needs a password: postgresql://user:password@host:5432/database"),
    ("no pg_hba.conf entry", "allow this user and host in pg_hba.conf of the server"),
    ("Connection refused", "check host and port, and that PostgreSQL runs there"),
    ("No such file or directory", "check host and port, and that PostgreSQL runs there"),
    ("could not translate host name", "check the host's name"),
    ("cannot be resolved", "check the host's name, and the name server"),
    ("timeout expired", "nothing answers there: check host, port and firewall"),
    ("no answer within", "nothing answers there: check host, port and firewall"),
    ("starting up", "try again in a moment"),
    (
        "unsupported startup parameter",
        "remove it from the URL, or add it to PgBouncer's ignore_startup_parameters",
    ),
    ("no such database", "PgBouncer does not know this database: add it to [databases] in its settings"),
    ("no more connections allowed", "PgBouncer has reached its max_client_conn: raise it"),
    ("server login has been failing", "PgBouncer cannot log in to PostgreSQL: see PgBouncer's log"),
)
"""Part of an error of libpq (a failed connection has no SQLSTATE) and its remedy."""
_QUESTION: Final = re.compile(r"\s*Is the server running[^?]*\?")
_POOLED_STATEMENTS: Final = (
    "PgBouncer uses pool_mode = statement, and this needs transactions: set pool_mode = transaction or"
    " session for this database, or connect to PostgreSQL directly"
)
_POOLER: Final = (
    ("not allowed in statement pooling mode", f"; {_POOLED_STATEMENTS}"),
    (
        "query_wait_timeout",
        "; PgBouncer had no free connection to PostgreSQL: raise its default_pool_size, or see its log",
    ),
    ("server login has been failing", "; PgBouncer cannot log in to PostgreSQL: see PgBouncer's log"),
)
"""Part of an error of a pooler and its remedy."""
_DATA: Final = ("22", "23")
"""Classes of SQLSTATE: data exceptions, and violations of constraints."""
_MISSING: Final = frozenset(
    {
        errorcodes.UNDEFINED_TABLE,
        errorcodes.UNDEFINED_COLUMN,
        errorcodes.UNDEFINED_FUNCTION,
        errorcodes.INVALID_SCHEMA_NAME,
    }
)


def connection_error(given: Mapping[str, str], reason: str) -> DatabaseUnreachableError:
    """The error for a connection that could not be opened.

    Args:
        given: the keywords of libpq for the connection.
        reason: the message of libpq.
    """
    said = _one_sentence(reason)
    database, user = given.get("dbname", ""), given.get("user", "")
    place = given.get("host") or given.get("hostaddr") or "the local socket"
    remedy = next((advice for sign, advice in _REMEDIES if sign in said), "")
    if said.endswith("does not exist"):
        thing, name = ("database", database) if "database" in said else ("role", user)
        remedy = f'create it first: CREATE {thing.upper()} "{name}"'
    return DatabaseUnreachableError(
        f"cannot connect to database {database or '(named like the user)'} at {place}, port"
        f" {given.get('port', '5432')}, as user {user or '(the operating system user)'}: {said}"
        + (f"; {remedy}" if remedy else "")
    )


def _one_sentence(reason: str) -> str:
    """A message of libpq on one line, without its question, which the remedy answers."""
    lines = _QUESTION.sub("", reason).splitlines()
    return "; ".join(said for line in lines if (said := " ".join(line.split()).rstrip(";")))


@contextmanager
def first_transaction() -> Iterator[None]:
    """Explain an error in the first transaction of a connection, which a pooler of statements closes.

    The pooler says why, but libpq may report only that the connection was closed.
    """
    try:
        yield
    except (psycopg2.OperationalError, DatabaseError) as error:
        if "server closed the connection unexpectedly" not in str(error):
            raise
        what = "the connection was closed when a transaction began; probably"
        raise DatabaseError(f"{what} {_POOLED_STATEMENTS}") from error


@contextmanager
def translated_errors(connection: extensions.connection) -> Iterator[None]:
    """Raise as `DatabaseError` what psycopg2 raises on `connection`."""
    try:
        yield
    except psycopg2.Error as error:
        raise translated_error(connection, error) from error


def translated_error(connection: extensions.connection, error: psycopg2.Error) -> DatabaseError:
    """The error for a statement that failed on `connection`."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    if error.pgcode in _MISSING:
        what = f"the database is missing tables that this version needs ({said})"
        return SchemaMissingError(f"{what}; run `otel-ratelimit db upgrade`")
    advice = _advice(connection, error, said)
    return _kind(error)(f"{said}{advice}")


def _kind(error: psycopg2.Error) -> type[DatabaseError]:
    if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected):
        return DatabaseBusyError
    if isinstance(error, errors.QueryCanceled):
        return DatabaseTimeoutError
    if error.pgcode and error.pgcode.startswith(_DATA):
        return DataRejectedError
    return DatabaseError


def _advice(connection: extensions.connection, error: psycopg2.Error, said: str) -> str:
    """The remedy, as the rest of the sentence."""
    if isinstance(error, errors.InsufficientPrivilege):
        return f"; {_grant(connection, said)}"
    if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected):
        return ": a table is in use; try again, or end the session that uses it"
    if isinstance(error, errors.DependentObjectsStillExist):
        return f": {'; '.join((error.diag.message_detail or '').splitlines())}; drop those first"
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "; this is a replica, or the database is read-only: connect to the primary"
    return next((advice for sign, advice in _POOLER if sign in said), "")


def _grant(connection: extensions.connection, said: str) -> str:
    info = connection.info
    if said.startswith("permission denied for database"):
        return f'grant it: GRANT CREATE ON DATABASE "{info.dbname}" TO "{info.user}"'
    return f'grant it to "{info.user}", or run this as the owner of the schema otel_ratelimit'
