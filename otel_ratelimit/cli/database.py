"""Which database a command works on: the one named, else that of the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from otel_ratelimit.cli.output import Refusal, fail
from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.runtime.which_database import database_url, running

VARIABLE: Final = "OTEL_RATELIMIT_DATABASE_URL"
EXAMPLE: Final = "postgresql://user:password@host:5432/database"

database_url_option = click.option(
    "--database-url",
    metavar="URL",
    help=f"{EXAMPLE}, or embedded:FOLDER; default: {VARIABLE}, where other users cannot see it.",
)


@contextmanager
def chosen_database(given: str | Secret | None) -> Iterator[Secret]:
    """Where to connect; an embedded database runs for as long as the command does, if nobody else runs it.

    Raises:
        DatabaseError: an embedded database cannot be started.
    """
    try:
        url = database_url(given)
    except ConfigurationError as error:
        fail(error)
    if not url:
        raise Refusal(f"no database is named; set {VARIABLE}={EXAMPLE}, or give it with --database-url")
    with running(url) as found:
        yield found
