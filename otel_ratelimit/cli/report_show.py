"""`otel-ratelimit report show`: a stored report, or one that is made now, as tables, JSON or a page."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import click

from otel_ratelimit.cache_advice.stored_reports import DayInBrief, StoredReport
from otel_ratelimit.cli.chosen_database import chosen_database, database_url_option
from otel_ratelimit.cli.output import CHECK_FAILED, CommandError, as_json_option, print_json, print_progress
from otel_ratelimit.cli.report_day import DAY
from otel_ratelimit.cli.report_job import announced_policy, ended, report_job, report_policy_option
from otel_ratelimit.core.errors import DatabaseError, RemediableError
from otel_ratelimit.core.services import ALL_SERVICES
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.cache_reports import PostgresCacheReports
from otel_ratelimit.reports.rendering.html_page import page
from otel_ratelimit.reports.rendering.terminal_tables import print_report

STATEMENT_SECONDS: Final = 30.0


@click.command("show")
@click.option("--date", "day", type=DAY, metavar="DAY", help="2026-01-31; default: the last report.")
@click.option("--so-far", is_flag=True, help="Today's queries so far; made now and not kept.")
@click.option(
    "--service",
    metavar="NAME",
    help="Only this service's queries, of --date or the last full day; made now and not kept.",
)
@click.option("--days", type=click.IntRange(1, 366), default=14, show_default=True, help="Days of the trend.")
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path, allow_dash=True), help="Write a page to this file."
)
@report_policy_option
@database_url_option
@as_json_option
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
    """Show a report: tables, JSON or a page of HTML.

    Kept reports are of all services of the database. A report that is made now, with --so-far or --service,
    needs the same packages and settings as `report run`. Exit status 1 if there is no report.
    """
    if as_json and html_path is not None:
        raise click.UsageError("--json and --html exclude each other: give one of them")
    if so_far and day is not None:
        raise click.UsageError("--so-far means today, --date another day: give one of them")
    one = None if service == ALL_SERVICES else service
    stored: StoredReport | None
    trend: list[DayInBrief]
    try:
        if so_far or one is not None:
            with report_job(announced_policy(policy_path, mails=False), database_url, print_progress) as job:
                made = job.so_far(one) if so_far or one is None else job.of_service(one, day)
            stored, trend = StoredReport(made, datetime.now(UTC), None), []
        else:
            stored, trend = _stored(database_url, day, days)
    except (DatabaseError, RemediableError) as error:
        sys.exit(ended(error))
    except ValueError as error:
        raise CommandError(str(error)) from None
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
        # The page declares UTF-8, whatever the terminal's encoding is.
        click.echo(text.encode())
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"Error: {path} cannot be written: {error.strerror}", err=True)
        sys.exit(CHECK_FAILED)
    click.echo(f"written to {path}", err=True)


def _stored_json(stored: StoredReport, trend: list[DayInBrief]) -> dict[str, Any]:
    return {
        "made_at": stored.made_at.isoformat(),
        "mailed_at": stored.mailed_at.isoformat() if stored.mailed_at is not None else None,
        "report": json.loads(stored.report.model_dump_json()),
        "trend": [{**day._asdict(), "analysis_date": day.analysis_date.isoformat()} for day in trend],
    }
