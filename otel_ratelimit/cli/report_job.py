"""The report job and its policy, for `report` and `scheduler`, from the operator's settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from opentelemetry.metrics import get_meter
from opentelemetry.trace import get_tracer

from otel_ratelimit.cli.chosen_database import chosen_database
from otel_ratelimit.cli.chosen_policy import policy_file, policy_of, policy_option
from otel_ratelimit.cli.output import CHECK_FAILED, fail
from otel_ratelimit.core import names
from otel_ratelimit.core.errors import ConfigurationError, RemediableError
from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.core.smtp_url import SmtpServer
from otel_ratelimit.policy import Policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.server_clock import DatabaseClock
from otel_ratelimit.storage.key_namespace import service_of
from otel_ratelimit.telemetry import service_name
from otel_ratelimit.telemetry.reports import report_telemetry

if TYPE_CHECKING:
    from otel_ratelimit.reports.job import ReportJob

_NEEDED: Final = ("numpy", "apscheduler")

report_policy_option = policy_option(
    "Policy with [cache] and [report]; default: OTEL_RATELIMIT_POLICY or ./ratelimit.toml."
)


def announced_policy(path: Path | None, *, mails: bool = True) -> Policy:
    """The policy to use. It is printed, because the same command may find another one in another folder.

    Args:
        path: the path that was given, if any.
        mails: whether the command mails reports; then the recipients are printed too.
    """
    file = policy_file(path)
    policy = policy_of(file)
    found = f"policy: {file}" if file is not None else "no policy file, so the built-in prices apply"
    to_whom = f"; {_mailed_to(policy)}" if mails else ""
    click.echo(f"{found}; days of {policy.report.time_zone}{to_whom}", err=True)
    return policy


def why_not_mailed(policy: Policy) -> str:
    """Why no e-mail can be sent; empty if one can."""
    if not policy.report.to:
        return "[report] to is empty"
    return "" if _smtp_server() is not None else "OTEL_RATELIMIT_SMTP_URL is not set"


@contextmanager
def report_job(policy: Policy, database_url: str | None, tell: Callable[[str], None]) -> Iterator[ReportJob]:
    """The job, for as long as the command runs.

    Raises:
        DatabaseError: the database cannot be used.
        RemediableError: a package is missing.
    """
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        raise RemediableError(
            f"reports need packages that are not installed: {', '.join(missing)}",
            'pip install "otel-ratelimit[report]"',
        )
    # Imported late: they need the packages of the extra.
    from otel_ratelimit.reports.job import ReportJob
    from otel_ratelimit.reports.mailer import report_mailer

    source = service_name(service_of(os.environ).name)
    with chosen_database(database_url) as url, closing(Database(url)) as clocked:
        job = ReportJob(
            url,
            policy,
            mailer=report_mailer(_smtp_server(), policy.report, source),
            telemetry=report_telemetry(get_meter(names.METER), get_tracer(names.METER)),
            # With a wrong clock, a day that has not ended would get a report without queries, and no other
            # one.
            clock=DatabaseClock(clocked, tell),
            tell=tell,
        )
        try:
            yield job
        finally:
            job.close()


def ended(error: Exception) -> int:
    """Print the error; returns the exit status."""
    click.echo(f"Error: {error}", err=True)
    return error.exit_status if isinstance(error, RemediableError) else CHECK_FAILED


def _mailed_to(policy: Policy) -> str:
    why_not = why_not_mailed(policy)
    return f"no e-mail: {why_not}" if why_not else f"e-mail to {', '.join(policy.report.to)}"


def _smtp_server() -> SmtpServer | None:
    try:
        return settings_from(os.environ).smtp_server
    except ConfigurationError as error:
        fail(error)
