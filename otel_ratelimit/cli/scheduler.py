"""`otel-ratelimit scheduler`: makes the report of each day, every night."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from otel_ratelimit.cli.chosen_database import database_url_option
from otel_ratelimit.cli.report_job import announced_policy, ended, report_job, report_policy_option
from otel_ratelimit.core.errors import DatabaseError, RemediableError

if TYPE_CHECKING:
    from otel_ratelimit.reports.job import ReportJob
    from otel_ratelimit.reports.schedule import Schedule


@click.command()
@report_policy_option
@database_url_option
def scheduler(policy_path: Path | None, database_url: str | None) -> None:
    """Make the report of each day shortly after midnight, and missing reports at once.

    The policy's [report] sets the time and the time zone. Runs until it is stopped. Several may run at once:
    one of them makes the report. A report that fails is tried again after ten minutes.
    """
    policy = announced_policy(policy_path)
    try:
        with report_job(policy, database_url, _tell) as job:
            from otel_ratelimit.reports.schedule import Schedule

            schedule = Schedule(
                lambda: _caught_up(job), policy.report.starts_at, policy.report.zone, tell=_tell
            )
            _tell(f"every day at {policy.report.at} {policy.report.time_zone}, and missing reports now")
            with _stopping(schedule):
                schedule.run()
        _tell("stopped")
    except (DatabaseError, RemediableError) as error:
        sys.exit(ended(error))


def _caught_up(job: ReportJob) -> bool:
    try:
        outcome = job.catch_up()
    except DatabaseError as error:
        _tell(str(error))
        return False
    if outcome.skipped:
        _tell("another process is making reports")
    for day, reason in outcome.failed:
        _tell(f"no report on {day}: {reason}")
    if outcome.mail_error is not None:
        _tell(f"not mailed: {outcome.mail_error}")
    return not outcome.may_pass


def _tell(sentence: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {sentence}", err=True)


@contextmanager
def _stopping(schedule: Schedule) -> Iterator[None]:
    """SIGINT and SIGTERM end the schedule once the current report is finished."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        schedule.stop()

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
