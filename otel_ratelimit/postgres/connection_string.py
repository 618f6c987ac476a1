"""Database URLs as connection strings of libpq."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import HiddenValues, Secret

APPLICATION_NAME: Final = "otel-ratelimit"


def keywords(connection_string: Secret) -> HiddenValues[str]:
    """The keywords of libpq in a connection string that `dsn` made."""
    return HiddenValues(extensions.parse_dsn(connection_string.reveal()))


def dsn(url: str | Secret) -> Secret:
    """`url` as a connection string of libpq, with our application name unless it has one.

    Raises:
        DatabaseError: `url` is invalid; the message shows the right form, and no password.
    """
    url = Secret.of(url)
    given: HiddenValues[str] | None
    try:
        given = keywords(url)
    except (
        psycopg2.ProgrammingError,
        UnicodeDecodeError,
    ):  # the latter for %A1 and the like, which is no UTF-8
        given = None
    if given is None or _misread(given):
        raise DatabaseError(
            "the database URL is invalid; write postgresql://user:password@host:5432/database,"
            " with / ? # @ : in a password as %2F %3F %23 %40 %3A"
        )
    return Secret(extensions.make_dsn(**{"fallback_application_name": APPLICATION_NAME, **given}))


def _misread(given: Mapping[str, str]) -> bool:
    """Whether part of the password was parsed as host, port or database, which messages would show."""
    port = given.get("port", "0").replace(",", "")
    return not port.isdigit() or "@" in given.get("host", "") + given.get("dbname", "")
