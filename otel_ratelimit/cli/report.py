"""`otel-ratelimit report`: the group of `run` and `show`."""

from __future__ import annotations

import click

from otel_ratelimit.cli.report_run import run_command
from otel_ratelimit.cli.report_show import show_command


@click.group()
def report() -> None:
    """Would a cache pay? The report of each day's queries."""


report.add_command(run_command)
report.add_command(show_command)
