"""Synchronous connections for work on the schema, such as migrations.

That work may take long, so there is no deadline for answers as in `connection`. TCP keepalives notice a
server that is gone.

They are made with `extensions.connection` and not with `psycopg2.connect`, which OpenTelemetry wraps: our own
statements make no spans and are never logged as the application's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres.connection import OwnConnection
from otel_ratelimit.postgres.connection_string import dsn, keywords
from otel_ratelimit.postgres.error_translation import connection_error, first_transaction, translated_errors

_CONNECT: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


@contextmanager
def schema_connection(url: str | Secret) -> Iterator[extensions.connection]:
    """A connection to `url`, closed afterwards; errors of psycopg2 are translated.

    It has been checked that it can begin a transaction, which some poolers do not allow.

    Raises:
        DatabaseError: no connection, or a statement failed.
    """
    given = keywords(dsn(url))
    try:
        connection = OwnConnection(extensions.make_dsn(None, **{**_CONNECT, **given}))
    except psycopg2.OperationalError as error:
        raise connection_error(
            given, str(error)
        ) from None  # its context would repeat the message, not add to it
    try:
        with translated_errors(connection):
            with first_transaction(), connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                connection.rollback()
            yield connection
    finally:
        connection.close()
