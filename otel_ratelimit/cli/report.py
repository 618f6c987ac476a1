"""`otel-ratelimit report run` and `report show`: would a cache pay?"""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from otel_ratelimit.analysis.cache.daily import DailyCacheReport
from otel_ratelimit.analysis.cache.history import DayInBrief, StoredReport
from otel_ratelimit.cli.database import chosen_database, database_url_option
from otel_ratelimit.cli.output import CHECK_FAILED, print_json
from otel_ratelimit.cli.report_job import chosen_policy, ended, policy_option, report_job
from otel_ratelimit.errors import DatabaseError, RemediableError
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.rendering.report_page import page
from otel_ratelimit.rendering.report_tables import print_report

if TYPE_CHECKING:
    from otel_ratelimit.nightly.job import MailWhen, Outcome

STATEMENT_SECONDS: Final = 30.0
_FOREVER: Final = date.max

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_day = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def report() -> None:
    """Would a cache pay? The report of each day's queries."""


@report.command("run")
@click.option("--date", "moment", type=_day, metavar="DAY", help="This day; default: the last full day.")
@click.option("--backfill", is_flag=True, help="Every full day that has no report yet, the last one first.")
@click.option(
    "--mail/--no-mail",
    default=None,
    help="Mail the report even if it was mailed, or not at all; default: the last full day's, once.",
)
@policy_option
@database_url_option
@_as_json
def run_command(  # noqa: PLR0913 - one for each option
    *,
    moment: datetime | None,
    backfill: bool,
    mail: bool | None,
    policy_path: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Analyse a day's queries and keep the report; without --backfill anew if there is one.

    Days are those of the time zone in the policy's [report]. Safe to run again, and by several processes at
    once: one of them works, the others say so. Exit status 1 if something was not done.
    """
    if moment is not None and backfill:
        raise click.UsageError("--date names a day, --backfill means all that are missing: give one of them")
    when: MailWhen = {None: "once", True: "always", False: "never"}[mail]  # type: ignore[assignment]
    try:
        with report_job(chosen_policy(policy_path), database_url, _progress) as job:
            if backfill:
                outcome = job.catch_up(mail=when)
            else:
                outcome = job.run(moment.date() if moment is not None else None, mail=when)
    except (DatabaseError, RemediableError) as error:
        sys.exit(ended(error))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(_outcome_json(outcome))
    else:
        _say(outcome)
    if not outcome.is_well:
        sys.exit(CHECK_FAILED)


@report.command("show")
@click.option("--date", "moment", type=_day, metavar="DAY", help="Of this day; default: the last there is.")
@click.option("--days", type=click.IntRange(1, 366), default=14, show_default=True, help="Days of the trend.")
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path, allow_dash=True), help="Write a page to this file."
)
@database_url_option
@_as_json
def show_command(
    *,
    moment: datetime | None,
    days: int,
    html_path: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Show a report that was made: tables, JSON or a page of HTML.

    Exit status 1 if there is none.
    """
    if as_json and html_path is not None:
        raise click.UsageError("--json and --html are two ways to show it: give one of them")
    try:
        stored, trend = _stored(database_url, moment.date() if moment is not None else None, days)
    except DatabaseError as error:
        sys.exit(ended(error))
    if stored is None:
        of = f" of {moment:%Y-%m-%d}" if moment is not None else ""
        click.echo(f"there is no report{of}; `otel-ratelimit report run` makes one", err=True)
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
            stored = reports.latest(day or date.min, day or _FOREVER)
            if stored is None:
                return None, []
            last = stored.report.analysis_date
            return stored, reports.trend(last - timedelta(days=days - 1), last)
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


def _say(outcome: Outcome) -> None:
    if outcome.skipped:
        click.echo("another process is making reports; nothing done")
        return
    for made in outcome.made:
        verdict = "would pay" if made.worthwhile else "would not pay"
        click.echo(f"{made.analysis_date}: a cache {verdict}: {made.reason}")
    for day in outcome.kept:
        click.echo(f"{day}: kept as it was, since part of its queries has been deleted")
    for day, error in outcome.failed:
        click.echo(f"{day}: Error: {error}", err=True)
    if outcome.sent is not None:
        click.echo(f"mailed to {', '.join(outcome.sent.accepted)}")
        for refused in outcome.sent.refused:
            click.echo(f"not mailed to {refused.address}: {refused.said}", err=True)
    if outcome.mail_error is not None:
        click.echo(f"Error: the report is kept, and was not mailed: {outcome.mail_error}", err=True)
    if outcome.is_well and not (outcome.made or outcome.kept or outcome.sent):
        click.echo("nothing to do: every full day has its report")


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    sent = outcome.sent
    return {
        "skipped": outcome.skipped,
        "made": [_brief(made) for made in outcome.made],
        "kept": [day.isoformat() for day in outcome.kept],
        "failed": [{"date": day.isoformat(), "error": str(error)} for day, error in outcome.failed],
        "mailed_to": list(sent.accepted) if sent is not None else [],
        "not_mailed_to": {each.address: each.said for each in sent.refused} if sent is not None else {},
        "mail_error": str(outcome.mail_error) if outcome.mail_error is not None else None,
    }


def _brief(made: DailyCacheReport) -> dict[str, Any]:
    return {
        "date": made.analysis_date.isoformat(),
        "worthwhile": made.worthwhile,
        "certainty": made.cost.certainty,
        "reason": made.reason,
        "hit_potential": made.hit_potential,
        "recommended_ttl_seconds": made.recommended_ttl_seconds,
    }


def _stored_json(stored: StoredReport, trend: list[DayInBrief]) -> dict[str, Any]:
    return {
        "made_at": stored.made_at.isoformat(),
        "mailed_at": stored.mailed_at.isoformat() if stored.mailed_at is not None else None,
        "report": json.loads(stored.report.model_dump_json()),
        "trend": [{**day._asdict(), "analysis_date": day.analysis_date.isoformat()} for day in trend],
    }
