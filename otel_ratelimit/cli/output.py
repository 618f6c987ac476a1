"""How commands print: a table for people, JSON for machines, errors on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.telemetry.logs.output import ROOT

CHECK_FAILED = 1
WRONG_USE = 2

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class CommandError(click.ClickException):
    """The command cannot do what was asked, because of the database, the environment or a file.

    The command line itself is well formed. So its usage is not printed, as `click.UsageError` would do; the
    exit status is the same.
    """

    exit_code = WRONG_USE


def escape_what_cannot_be_written() -> None:
    """Print a character that the terminal's encoding lacks as an escape, as standard error does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def log_warnings_only() -> Callable[[], None]:
    """Suppress INFO lines of an application that a command loads, such as those of its start.

    Returns a function that undoes this. A level that somebody has chosen stays.
    """
    logger = logging.getLogger(ROOT)
    if logger.level != logging.NOTSET:
        return lambda: None
    logger.setLevel(logging.WARNING)
    return lambda: logger.setLevel(logging.NOTSET)


def print_progress(sentence: str) -> None:
    """A sentence on what the command is doing, on standard error."""
    click.echo(sentence, err=True)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; no cell is cut, whatever the width of the terminal or pipe."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    natural = Console(width=10_000).measure(table).maximum
    console = Console(file=sys.stdout, highlight=False)
    # A pipe has no width: there the table may be as wide as it needs.
    console.width = console.width if console.is_terminal else max(natural, 80)
    console.print(table)


def fail(error: ConfigurationError) -> NoReturn:
    """Print every problem, and end with the status of a failed check."""
    count = len(error.problems)
    for problem in error.problems:
        click.echo(str(problem), err=True)
    click.echo(f"{count} problem{'s' if count > 1 else ''} found.", err=True)
    sys.exit(CHECK_FAILED)
