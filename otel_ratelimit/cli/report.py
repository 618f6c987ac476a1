"""`otel-ratelimit report run` and `report show`: would a cache pay?"""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from otel_ratelimit.cache_advice.history import DayInBrief, StoredReport
from otel_ratelimit.cli.chosen_database import chosen_database, database_url_option
from otel_ratelimit.cli.output import CHECK_FAILED, Refusal, print_json
from otel_ratelimit.cli.report_job import chosen_policy, ended, policy_option, report_job, why_not_mailed
from otel_ratelimit.cli.report_run_output import outcome_json, say
from otel_ratelimit.core.errors import DatabaseError, RemediableError
from otel_ratelimit.core.services import ALL_SERVICES
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.reports.rendering.report_page import page
from otel_ratelimit.reports.rendering.report_tables import print_report

if TYPE_CHECKING:
    from otel_ratelimit.reports.job import MailWhen

STATEMENT_SECONDS: Final = 30.0
_MAIL: Final[dict[bool | None, MailWhen]] = {None: "once", True: "always", False: "never"}

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Day(click.ParamType):  # type: ignore[type-arg]  # of newer versions only
    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write for instance 2026-01-31", param, ctx)


_day = _Day()
_ONE_OF_ALL: Final = (
    "the report that is kept is one a day, of all services of the database, since one cache may serve all."
    " `otel-ratelimit report show --service {service}` makes the report of one service, and shows it"
)


@click.group()
def report() -> None:
    """Would a cache pay? The report of each day's queries."""


@report.command("run")
@click.option("--date", "day", type=_day, metavar="DAY", help="2026-01-31; default: the last full day.")
@click.option("--backfill", is_flag=True, help="Every full day that has no report yet, the last one first.")
@click.option(
    "--mail/--no-mail",
    default=None,
    help="Mail the report even if it was mailed, or not at all; default: the last full day's, once.",
)
@click.option("--service", metavar="NAME", help="Refused: see `report show --service`.", hidden=True)
@policy_option
@database_url_option
@_as_json
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
    """Analyse a day's queries and keep the report; without --backfill anew if there is one.

    Days are those of the time zone in the policy's [report]. Safe to run again, and by several processes at
    once: one of them works, the others say so. Exit status 1 if something was not done.
    """
    if day is not None and backfill:
        raise click.UsageError("--date names a day, --backfill means all that are missing: give one of them")
    if service is not None and service != ALL_SERVICES:
        raise click.UsageError(_ONE_OF_ALL.format(service=shlex.quote(service)))
    when = _MAIL[mail]
    try:
        policy = chosen_policy(policy_path)
        if mail and (why_not := why_not_mailed(policy)):
            raise Refusal(f"--mail cannot be: {why_not}")
        with report_job(policy, database_url, _progress) as job:
            outcome = job.catch_up(mail=when) if backfill else job.run(day, mail=when)
    except (DatabaseError, RemediableError) as error:
        sys.exit(ended(error))
    except ValueError as error:
        raise Refusal(str(error)) from None
    if as_json:
        print_json(outcome_json(outcome))
    else:
        say(outcome)
    if not outcome.is_well:
        sys.exit(CHECK_FAILED)


@report.command("show")
@click.option("--date", "day", type=_day, metavar="DAY", help="2026-01-31; default: the last there is.")
@click.option("--so-far", is_flag=True, help="Today's, as far as it is, made now and not kept.")
@click.option(
    "--service",
    metavar="NAME",
    help="Of this service's queries only, made now and not kept; default: the last full day.",
)
@click.option("--days", type=click.IntRange(1, 366), default=14, show_default=True, help="Days of the trend.")
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path, allow_dash=True), help="Write a page to this file."
)
@policy_option
@database_url_option
@_as_json
def show_command(
    *,
    day: date | None,
    so_far: bool,
    service: str | None,
    days: int,
    html_path: Path | None,
    policy_path: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Show a report that was made: tables, JSON or a page of HTML.

    Those that are kept are of all services of the database. One that is made now, with --so-far or --service,
    needs what `report run` needs. Exit status 1 if there is none.
    """
    if as_json and html_path is not None:
        raise click.UsageError("--json and --html are two ways to show it: give one of them")
    if so_far and day is not None:
        raise click.UsageError("--so-far is of today, --date of another day: give one of them")
    one = None if service == ALL_SERVICES else service
    stored: StoredReport | None
    trend: list[DayInBrief]
    try:
        if so_far or one is not None:
            with report_job(chosen_policy(policy_path, mails=False), database_url, _progress) as job:
                made = job.so_far(one) if so_far or one is None else job.of_service(one, day)
            stored, trend = StoredReport(made, datetime.now(UTC), None), []
        else:
            stored, trend = _stored(database_url, day, days)
    except (DatabaseError, RemediableError) as error:
        sys.exit(ended(error))
    except ValueError as error:
        raise Refusal(str(error)) from None
    if stored is None:
        of, dated = (f" of {day}", f" --date {day}") if day is not None else ("", "")
        click.echo(f"there is no report{of}; `otel-ratelimit report run{dated}` makes one", err=True)
        sys.exit(CHECK_FAILED)
    if as_json:
        print_json(_stored_json(stored, trend))
    elif html_path is not None:
        _write(html_path, page(stored.report, trend))
    else:
        print_report(stored.report, trend)


def _stored(
    database_url: str | None, day: date | None, days: int
) -> tuple[StoredReport | None, list[DayInBrief]]:
    with chosen_database(database_url) as url:
        database = Database(url, statement_seconds=STATEMENT_SECONDS)
        try:
            reports = PostgresCacheReports(database)
            stored = reports.latest(day or date.min, day or date.max)
            if stored is None:
                return None, []
            last = stored.report.analysis_date
            first = max(last.toordinal() - days + 1, 1)
            return stored, reports.trend(date.fromordinal(first), last)
        finally:
            database.close()


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        # The page says that it is UTF-8, whatever the terminal has.
        click.echo(text.encode())
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"Error: {path} cannot be written: {error.strerror}", err=True)
        sys.exit(CHECK_FAILED)
    click.echo(f"written to {path}", err=True)


def _progress(sentence: str) -> None:
    click.echo(sentence, err=True)


def _stored_json(stored: StoredReport, trend: list[DayInBrief]) -> dict[str, Any]:
    return {
        "made_at": stored.made_at.isoformat(),
        "mailed_at": stored.mailed_at.isoformat() if stored.mailed_at is not None else None,
        "report": json.loads(stored.report.model_dump_json()),
        "trend": [{**day._asdict(), "analysis_date": day.analysis_date.isoformat()} for day in trend],
    }
