"""`otel-ratelimit demo`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from otel_ratelimit.core.errors import RemediableError
from otel_ratelimit.demo.errors import WRONG_USE, DemoError, ExtraMissingError

_INTERRUPTED = 130
"""As in shells: 128 plus the number of SIGINT."""
_NEEDED = {
    "gunicorn": "gunicorn",
    "locust": "locust",
    "psutil": "psutil",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.proto": "opentelemetry-proto",
}
"""Modules, and the packages that contain them; PostgreSQL is checked when it is started."""


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any.")
@click.option(
    "--duration",
    type=click.FloatRange(1, 600),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the traffic lasts.",
)
@click.option("--once", is_flag=True, help="Exit when the traffic has ended.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the results as JSON (progress goes to standard error)."
)
@click.option(
    "--keep-data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the database in DIR, and use it again next time.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Workers of gunicorn. Each has its own counters, so N workers allow N times each limit.",
)
def demo(
    *, port: int, duration: float, once: bool, as_json: bool, keep_data: Path | None, workers: int
) -> None:
    """Watch an API being rate limited: a real PostgreSQL, real HTTP traffic, real metrics.

    Starts the API of a job board, which contains no code for rate limits, with opentelemetry-instrument and
    gunicorn. People, a scraper and an abuser use it; then the demo prints what happened. Everything stays on
    this machine and ends with this command.
    """
    try:
        _look_for_what_is_needed()
        # Imported late: they need the packages of the extra.
        from otel_ratelimit.demo.runner import Options, run

        has_results = run(
            Options(
                port=port,
                duration=duration,
                once=once,
                as_json=as_json,
                keep_data=keep_data.absolute() if keep_data else None,
                workers=workers,
            ),
            os.environ,
        )
        if not has_results:
            sys.exit(_INTERRUPTED)
    except RemediableError as error:
        click.echo(f"\n{error}", err=True)
        sys.exit(error.exit_status)


def _look_for_what_is_needed() -> None:
    if sys.platform == "win32":
        raise DemoError(
            "gunicorn does not run on Windows", "use the Windows Subsystem for Linux", exit_status=WRONG_USE
        )
    missing = [package for module, package in _NEEDED.items() if not _is_installed(module)]
    if missing:
        raise ExtraMissingError(missing)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False
