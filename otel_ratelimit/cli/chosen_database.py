"""The database that a command works with: the named one, else that of the environment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from otel_ratelimit.cli.output import CHECK_FAILED, CommandError, fail
from otel_ratelimit.core.errors import ConfigurationError, DatabaseError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.reports.rendering.formatting import printable
from otel_ratelimit.runtime.which_database import database_url, running

VARIABLE: Final = "OTEL_RATELIMIT_DATABASE_URL"
EXAMPLE: Final = "postgresql://user:password@host:5432/database"

database_url_option = click.option(
    "--database-url",
    metavar="URL",
    help=f"{EXAMPLE}, or embedded:FOLDER; default: {VARIABLE}, which other users cannot see.",
)


@contextmanager
def chosen_database(given: str | Secret | None) -> Iterator[Secret]:
    """The URL to connect to; an embedded database is started for the command if it is not running.

    Raises:
        DatabaseError: an embedded database cannot be started.
    """
    try:
        url = database_url(given)
    except ConfigurationError as error:
        fail(error)
    if not url:
        raise CommandError(f"no database is named; set {VARIABLE}={EXAMPLE}, or give it with --database-url")
    with running(url) as found:
        yield found


@contextmanager
def database_errors() -> Iterator[None]:
    """End the command on a DatabaseError with one line and status 1, on a ValueError with status 2."""
    try:
        yield
    except DatabaseError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(CHECK_FAILED)
    except ValueError as error:
        raise CommandError(printable(str(error))) from None
