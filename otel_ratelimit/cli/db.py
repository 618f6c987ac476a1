"""`otel-ratelimit db`: makes, looks at and keeps in order the tables of the analytics database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from otel_ratelimit.cli.chosen_database import chosen_database, database_url_option
from otel_ratelimit.cli.chosen_policy import policy_file, policy_of
from otel_ratelimit.cli.output import CHECK_FAILED, Refusal, print_json
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.services import SeveralServicesError, UnknownServiceError
from otel_ratelimit.policy.quantities import parse_duration
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.maintenance import MaintenanceReport, announced_services, maintain
from otel_ratelimit.postgres.migrate import current, downgrade, plan_downgrade, upgrade
from otel_ratelimit.reports.rendering.figures import printable

CONNECT_SECONDS = 10.0

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def db() -> None:
    """Make the tables of the analytics database, and keep them in order."""


@db.command("upgrade")
@database_url_option
@click.option("--revision", default="head", show_default=True, help="The last step to carry out.")
def upgrade_command(database_url: str | None, revision: str) -> None:
    """Carry out the steps that have not been; safe to run again, and by several processes at once."""
    with _errors(), chosen_database(database_url) as url:
        applied = upgrade(url, revision=revision, report=_progress)
    click.echo(f"carried out: {', '.join(applied)}" if applied else "nothing to do")


@db.command("downgrade")
@database_url_option
@click.option("--revision", default="base", show_default=True, help="The last step to keep; base keeps none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def downgrade_command(database_url: str | None, revision: str, yes: bool) -> None:
    """Undo steps, the last first. The data in their tables are lost."""
    with _errors(), chosen_database(database_url) as url:
        plan = plan_downgrade(url, revision=revision)
        if plan.steps and not yes:
            lost = f"All data in these tables are lost: {', '.join(plan.tables)}.\n" if plan.tables else ""
            click.confirm(f"This undoes {', '.join(plan.steps)}.\n{lost}Go on?", abort=True, err=True)
        undone = downgrade(url, revision=revision, report=_progress)
    click.echo(f"undone: {', '.join(undone)}" if undone else "nothing to do")


@db.command("current")
@database_url_option
@_as_json
def current_command(database_url: str | None, as_json: bool) -> None:
    """Show which step the database is at, and which are pending."""
    with _errors(), chosen_database(database_url) as url:
        found = current(url)
    if as_json:
        print_json(asdict(found))
    else:
        pending = f"pending: {', '.join(found.pending)}" if found.pending else "up to date"
        click.echo(f"{found.revision or 'no step carried out yet'}; {pending}")


@db.command("maintain")
@database_url_option
@click.option("--retention", metavar="TIME", help="How long rows are kept: 30d; default: that of the policy.")
@click.option(
    "--service",
    metavar="NAME",
    help="Whose rows --retention is about; default: OTEL_SERVICE_NAME, or the only service there is.",
)
@click.option(
    "--delete-anyway",
    is_flag=True,
    help="Delete old rows also where the clocks disagree, or where they should have gone days ago.",
)
@_as_json
def maintain_command(
    database_url: str | None, retention: str | None, service: str | None, delete_anyway: bool, as_json: bool
) -> None:
    """Make the partitions of the days to come, and delete what is older than the retention.

    The database's clock says what is old. Rows of a service are kept as long as its processes have asked for;
    rows that are no service's, as the longest retention says.

    Exit status 1 if something was not done: a table was in use or is missing, or old rows are not deleted
    because the clocks disagree or because the rows should have gone days ago.
    """
    kept = _retention(retention)
    with _errors(), chosen_database(database_url) as url:
        database = Database(url, connect_seconds=CONNECT_SECONDS)
        try:
            name = _whose_rows(database, service, is_shortened=retention is not None)
            report = maintain(
                database,
                now=datetime.now(UTC),
                retention=kept,
                service=name,
                override=retention is not None,
                delete_anyway=delete_anyway,
                report=_progress,
            )
        finally:
            database.close()
    if as_json:
        print_json({"retention_seconds": kept.total_seconds(), "service": name, **_as_told(report)})
    else:
        click.echo(_summary(report))
        for sentence in _not_done(report):
            click.echo(sentence, err=True)
    if report.postponed or _not_done(report):
        sys.exit(CHECK_FAILED)


def _whose_rows(database: Database, asked: str | None, *, is_shortened: bool) -> str | None:
    """The service named, else that of the environment, else the only one there is; None for none of them.

    Args:
        database: whose services.
        asked: the name given, which has to be known.
        is_shortened: whether a retention was given. It is for one service, which has to be clear and known.

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


def _as_told(report: MaintenanceReport) -> dict[str, object]:
    told = asdict(report)
    told["services"] = told.pop("retention_seconds")
    told["clock_set_back"] = report.clock_set_back.total_seconds()
    return told


def _not_done(report: MaintenanceReport) -> list[str]:
    """What an operator has to look after, a sentence each."""
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


@contextmanager
def _errors() -> Iterator[None]:
    """The database's errors as one line and status 1; a revision that does not exist as wrong use."""
    try:
        yield
    except DatabaseError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(CHECK_FAILED)
    except ValueError as error:
        raise Refusal(printable(str(error))) from None


def _progress(sentence: str) -> None:
    click.echo(sentence, err=True)


def _summary(report: MaintenanceReport) -> str:
    if report.skipped:
        return "another process is at it; nothing done"
    deleted = sum(report.rows_deleted.values())
    said = (
        f"partitions: {len(report.partitions_created)} made, {len(report.partitions_dropped)} dropped;"
        f" rows: {report.rows_moved} moved, {deleted} deleted"
    )
    return said + (f"; put off: {', '.join(report.postponed)}" if report.postponed else "")
