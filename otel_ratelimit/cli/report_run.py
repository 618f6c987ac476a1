"""`otel-ratelimit report run`: makes the report of a day, or of every day without one."""

from __future__ import annotations

import shlex
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from otel_ratelimit.cli.chosen_database import database_url_option
from otel_ratelimit.cli.output import CHECK_FAILED, CommandError, as_json_option, print_json, print_progress
from otel_ratelimit.cli.report_day import DAY
from otel_ratelimit.cli.report_job import (
    announced_policy,
    ended,
    report_job,
    report_policy_option,
    why_not_mailed,
)
from otel_ratelimit.cli.report_run_output import outcome_json, say
from otel_ratelimit.core.errors import DatabaseError, RemediableError
from otel_ratelimit.core.services import ALL_SERVICES

if TYPE_CHECKING:
    from otel_ratelimit.reports.job import MailWhen

_MAIL: Final[dict[bool | None, MailWhen]] = {None: "once", True: "always", False: "never"}
_ONE_OF_ALL: Final = (
    "one report a day is kept, for all services of the database together, because one cache may serve all of"
    " them. `otel-ratelimit report show --service {service}` makes the report of one service, and shows it"
)


@click.command("run")
@click.option("--date", "day", type=DAY, metavar="DAY", help="2026-01-31; default: the last full day.")
@click.option("--backfill", is_flag=True, help="Every full day without a report, the last one first.")
@click.option(
    "--mail/--no-mail",
    default=None,
    help="Mail the report even if it was mailed before, or never; default: mail the last full day's once.",
)
@click.option("--service", metavar="NAME", help="Refused: see `report show --service`.", hidden=True)
@report_policy_option
@database_url_option
@as_json_option
def run_command(
    *,
    day: date | None,
    backfill: bool,
    mail: bool | None,
    service: str | None,
    policy_path: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Analyse a day's queries and keep the report; without --backfill, replace a report that exists.

    Days are in the time zone of the policy's [report]. Safe to run again, and by several processes at once:
    one of them works, the others say so. Exit status 1 if something was not done.
    """
    if day is not None and backfill:
        raise click.UsageError("--date names a day, --backfill means all missing days: give one of them")
    if service is not None and service != ALL_SERVICES:
        raise click.UsageError(_ONE_OF_ALL.format(service=shlex.quote(service)))
    when = _MAIL[mail]
    try:
        policy = announced_policy(policy_path)
        if mail and (why_not := why_not_mailed(policy)):
            raise CommandError(f"--mail is not possible: {why_not}")
        with report_job(policy, database_url, print_progress) as job:
            outcome = job.catch_up(mail=when) if backfill else job.run(day, mail=when)
    except (DatabaseError, RemediableError) as error:
        sys.exit(ended(error))
    except ValueError as error:
        raise CommandError(str(error)) from None
    if as_json:
        print_json(outcome_json(outcome))
    else:
        say(outcome)
    if not outcome.is_well:
        sys.exit(CHECK_FAILED)
