"""The command line: `otel-ratelimit`. Exit status 0, 1 when a check failed, 2 for wrong use."""

from __future__ import annotations

import click

from otel_ratelimit.cli.db import db
from otel_ratelimit.cli.doctor import doctor
from otel_ratelimit.cli.output import escape_what_cannot_be_written, log_warnings_only
from otel_ratelimit.cli.policy import policy
from otel_ratelimit.cli.report import report
from otel_ratelimit.cli.routes import routes
from otel_ratelimit.cli.scheduler import scheduler
from otel_ratelimit.cli.status import status
from otel_ratelimit.core.version import __version__
from otel_ratelimit.demo.command import demo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="otel-ratelimit", message="%(package)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Rate limits for Flask APIs, without touching the app."""
    escape_what_cannot_be_written()
    context.call_on_close(log_warnings_only())


main.add_command(db)
main.add_command(demo)
main.add_command(doctor)
main.add_command(policy)
main.add_command(report)
main.add_command(routes)
main.add_command(scheduler)
main.add_command(status)
