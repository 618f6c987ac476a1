"""`python -m otel_ratelimit.demo.stack`: see `make stack`."""

from __future__ import annotations

import sys

import click

from otel_ratelimit.core.errors import RemediableError
from otel_ratelimit.demo.stack.runner import Options, run


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(1, 240),
    default=60.0,
    show_default=True,
    help="How long it runs.",
)
@click.option(
    "--calm",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Time before abusers come for the first time.",
)
@click.option(
    "--abuse",
    type=click.FloatRange(1, 3600),
    default=420.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the abusers stay.",
)
@click.option(
    "--every",
    type=click.FloatRange(1, 14400),
    default=1200.0,
    show_default=True,
    metavar="SECONDS",
    help="Time from one visit of the abusers to the next.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Workers of gunicorn. Each has its own counters, so N workers allow N times each limit.",
)
def main(*, minutes: float, calm: float, abuse: float, every: float, workers: int) -> None:
    """Run the demo's API with a collector, Prometheus and Alertmanager, here and without Docker."""
    try:
        run(Options(duration=60 * minutes, calm=calm, abuse=abuse, every=every, workers=workers))
    except RemediableError as error:
        click.echo(f"\n{error}", err=True)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
