"""Which database a function or a command works on: the one given, else that of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from otel_ratelimit.core.errors import ConfigurationError, Problem
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.settings import PREFIX, settings_from
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase, is_embedded

_NONE_NAMED = Problem(
    f"{PREFIX}DATABASE_URL",
    "no database is named",
    "set it, or pass database_url=postgresql://user:password@host/db",
)


def database_url(given: str | Secret | None) -> Secret:
    """The URL `given`, else that of the environment; empty where neither names a database.

    Raises:
        ConfigurationError: a variable is not valid.
    """
    return settings_from(os.environ, {"database_url": given}).database_url


@contextmanager
def running(url: Secret) -> Iterator[Secret]:
    """Where to connect; an embedded database runs meanwhile, unless another process runs it already.

    Raises:
        DatabaseError: an embedded database cannot be started.
    """
    if not is_embedded(url):
        yield url
        return
    embedded = EmbeddedDatabase(url, lambda _: None, os.environ)
    try:
        yield Secret(embedded.url())
    finally:
        embedded.close()


@contextmanager
def named_url(given: str | Secret | None) -> Iterator[Secret]:
    """Where to connect: `database_url`, and `running`.

    Raises:
        ConfigurationError: no database is named.
        DatabaseError: an embedded database cannot be started.
    """
    url = database_url(given)
    if not url:
        raise ConfigurationError([_NONE_NAMED])
    with running(url) as found:
        yield found


@contextmanager
def named_database(given: str | Secret | None) -> Iterator[Database]:
    """The database at `named_url`; closed afterwards.

    Raises:
        ConfigurationError: no database is named.
        DatabaseError: it cannot be used.
    """
    with named_url(given) as url:
        database = Database(url)
        try:
            yield database
        finally:
            database.close()
