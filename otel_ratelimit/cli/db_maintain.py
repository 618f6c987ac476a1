"""`otel-ratelimit db maintain`: makes partitions and deletes rows that are older than the retention."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from otel_ratelimit.cli.chosen_database import chosen_database, database_errors, database_url_option
from otel_ratelimit.cli.chosen_policy import policy_file, policy_of
from otel_ratelimit.cli.output import CHECK_FAILED, as_json_option, print_json, print_progress
from otel_ratelimit.core.services import SeveralServicesError, UnknownServiceError
from otel_ratelimit.policy.quantities import parse_duration
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.maintenance import MaintenanceReport, announced_services, maintain
from otel_ratelimit.postgres.retention import RetentionRequest

CONNECT_SECONDS = 10.0


@click.command("maintain")
@database_url_option
@click.option("--retention", metavar="TIME", help="How long rows are kept: 30d; default: that of the policy.")
@click.option(
    "--service",
    metavar="NAME",
    help="The service whose rows --retention is for; default: OTEL_SERVICE_NAME, or the only service.",
)
@click.option(
    "--delete-anyway",
    is_flag=True,
    help="Delete old rows even if the clocks disagree, or if the rows have been overdue for days.",
)
@as_json_option
def maintain_command(
    database_url: str | None, retention: str | None, service: str | None, delete_anyway: bool, as_json: bool
) -> None:
    """Create the partitions of the next days, and delete rows that are older than the retention.

    The database's clock decides which rows are old. Rows of a service are kept for the retention that its
    processes have announced; rows without a service, for the longest retention.

    Exit status 1 if something was not done: a table was in use or is missing, or old rows were not deleted
    because the clocks disagree or the rows have been overdue for days.
    """
    kept = _retention(retention)
    with database_errors(), chosen_database(database_url) as url:
        database = Database(url, connect_seconds=CONNECT_SECONDS)
        try:
            name = _whose_rows(database, service, is_shortened=retention is not None)
            report = maintain(
                database,
                RetentionRequest(kept, name, overrides=retention is not None),
                now=datetime.now(UTC),
                delete_anyway=delete_anyway,
                report=print_progress,
            )
        finally:
            database.close()
    if as_json:
        print_json({"retention_seconds": kept.total_seconds(), "service": name, **_as_json(report)})
    else:
        click.echo(_summary(report))
        for sentence in _not_done(report):
            click.echo(sentence, err=True)
    if report.postponed or _not_done(report):
        sys.exit(CHECK_FAILED)


def _whose_rows(database: Database, asked: str | None, *, is_shortened: bool) -> str | None:
    """The named service, else that of the environment, else the only one; None if there is no such service.

    Args:
        database: whose services.
        asked: the given name, which has to be known.
        is_shortened: whether a retention was given. It is for one service, which has to be known.

    Raises:
        UnknownServiceError: nothing is known of a service of that name.
        SeveralServicesError: none is named, and there are several.
    """
    named = os.environ.get("OTEL_SERVICE_NAME") or None if asked is None else asked
    announced = announced_services(database)
    if asked is None and not is_shortened:
        return named or (announced[0] if len(announced) == 1 else None)
    known = sorted({*announced, *PostgresAnalytics(database).services()})
    if named is None and len(known) > 1:
        raise SeveralServicesError(known, "a retention is for one of them", "name it with --service NAME")
    if named is not None and named not in known:
        raise UnknownServiceError(named, known)
    return named if named is not None else next(iter(known), None)


def _as_json(report: MaintenanceReport) -> dict[str, object]:
    fields = asdict(report)
    fields["services"] = fields.pop("retention_seconds")
    fields["clock_set_back"] = report.clock_set_back.total_seconds()
    return fields


def _not_done(report: MaintenanceReport) -> list[str]:
    """Sentences about problems that an operator has to check."""
    said = [f"not maintained: {failure}" for failure in report.failures]
    if report.hold:
        said.insert(0, f"no old rows deleted: {report.hold.sentence}")
    return said


def _retention(given: str | None) -> timedelta:
    if given is not None:
        try:
            return timedelta(seconds=parse_duration(given))
        except ValueError as wrong:
            raise click.BadParameter(f"{wrong}; write for instance 30d", param_hint="--retention") from None
    return timedelta(seconds=policy_of(policy_file()).analytics.retention)


def _summary(report: MaintenanceReport) -> str:
    if report.skipped:
        return "another process is maintaining the tables; nothing done"
    deleted = sum(report.rows_deleted.values())
    said = (
        f"partitions: {len(report.partitions_created)} created, {len(report.partitions_dropped)} dropped;"
        f" rows: {report.rows_moved} moved, {deleted} deleted"
    )
    return said + (f"; postponed: {', '.join(report.postponed)}" if report.postponed else "")
