"""Upgrades or downgrades the schema `otel_ratelimit` of a database, step by step, with Alembic.

The current step is stored in a version table of our own, so that an application's `alembic_version` is not
touched. A lock is taken before that table is read: one of several processes migrates, and the others find the
work done. Each step is a transaction, which includes its entry in that table. Nothing depends on a session,
so migrations work through a pooler that gives each transaction another connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg2 import InterfaceError, OperationalError, errors, extensions

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres.migration_steps import Steps, read_sql
from otel_ratelimit.postgres.schema_connection import schema_connection
from otel_ratelimit.postgres.sql_files import statements

if TYPE_CHECKING:
    pass

SCHEMA: Final = "otel_ratelimit"
VERSION_TABLE: Final = "schema_version"
LOCK: Final = 0x6F74_656C_726C_0001
"""Key of the advisory lock; the letters are `otelrl`."""
_DROPPED: Final = re.compile(r"^DROP TABLE otel_ratelimit\.(\w+);", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Current:
    """The migration state of a database."""

    revision: str | None
    """The last applied step; None before the first one."""
    head: str
    """The last step of this version of the package."""
    pending: tuple[str, ...]
    """Steps that `upgrade` would apply."""


@dataclass(frozen=True, slots=True)
class Downgrade:
    """The effect of `downgrade`."""

    steps: tuple[str, ...]
    """Steps that would be undone, the last one first."""
    tables: tuple[str, ...]
    """Tables that would be dropped with all their data."""


def _silent(_: str) -> None:
    pass


def upgrade(
    url: str | Secret, *, revision: str = "head", report: Callable[[str], None] = _silent
) -> list[str]:
    """Apply the pending steps up to `revision`; their names.

    Args:
        url: a `postgresql://` URL or a libpq connection string.
        revision: `head`, a step's name or the beginning of one.
        report: called with a sentence for each thing that was done.

    Raises:
        DatabaseError: a step failed; steps that were reported stay applied.
        ValueError: there is no such revision.
    """
    steps = Steps()
    target = steps.up_to(revision)
    with _locked(url, report) as connection:
        done = steps.up_to(_revision(connection, steps))
        todo = target[len(done) :]
        if todo:
            _check_encoding(connection)
            _make_schema(connection)
            _run_alembic(connection, steps, "upgrade", todo[-1], report)
        return list(todo)


def downgrade(
    url: str | Secret, *, revision: str = "base", report: Callable[[str], None] = _silent
) -> list[str]:
    """Undo the steps after `revision`, the last one first; their names. Their data are lost.

    `base` undoes everything, the schema included, unless somebody else created it or added something to it.

    Args:
        url: a `postgresql://` URL or a libpq connection string.
        revision: `base`, a step's name or the beginning of one.
        report: called with a sentence for each thing that was done.

    Raises:
        DatabaseError: a step failed; steps that were reported stay undone.
        ValueError: there is no such revision.
    """
    steps = Steps()
    target = steps.up_to(revision)
    with _locked(url, report) as connection:
        done = steps.up_to(_revision(connection, steps))
        todo = done[len(target) :]
        if todo:
            _run_alembic(connection, steps, "downgrade", target[-1] if target else "base", report)
        if not target:
            _remove_schema(connection, report)
        return list(reversed(todo))


def current(url: str | Secret) -> Current:
    """The migration state of the database; changes nothing.

    Raises:
        DatabaseError: no connection, no permission, or a schema newer than this package.
    """
    steps = Steps()
    with schema_connection(url) as connection:
        revision = _revision(connection, steps)
    done = steps.up_to(revision)
    return Current(done[-1] if done else None, steps.names[-1], steps.names[len(done) :])


def plan_downgrade(url: str | Secret, *, revision: str = "base") -> Downgrade:
    """List the steps that `downgrade` to `revision` would undo; changes nothing.

    Raises:
        DatabaseError: no connection, no permission, or a schema newer than this package.
        ValueError: there is no such revision.
    """
    steps = Steps()
    kept = steps.up_to(revision)
    with schema_connection(url) as connection:
        done = steps.up_to(_revision(connection, steps))
    undone = tuple(reversed(done[len(kept) :]))
    tables = [
        table for step in undone for table in _DROPPED.findall(read_sql(steps.folder / "sql", step, "down"))
    ]
    return Downgrade(undone, tuple(tables))


def _check_encoding(connection: extensions.connection) -> None:
    """Clients choose what they send, and only UTF8 can store all of it."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        database = connection.info.dbname
        raise DatabaseError(
            f"database {database} has encoding {encoding}, and analytics need UTF8: use another, made with"
            " CREATE DATABASE analytics ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )


@contextmanager
def _locked(url: str | Secret, report: Callable[[str], None]) -> Iterator[extensions.connection]:
    """A connection to work on; a second one holds the lock, which is released when that one is closed."""
    locks = statements("advisory_lock")
    with schema_connection(url) as guard, guard.cursor() as cursor:
        guard.autocommit = True  # the statements below begin the transaction
        cursor.execute(locks["begin"])
        cursor.execute(locks["no_transaction_timeout"])
        cursor.execute(locks["try_lock"], {"lock": LOCK})
        if cursor.fetchone() != (True,):
            report("waiting for another process that is migrating this database")
            cursor.execute(statements("migrate")["wait_for_lock"], {"lock": LOCK})
        with schema_connection(url) as connection:
            yield connection
        try:
            # Closed within a transaction, a pooler would close its connection, and release the lock late.
            cursor.execute("COMMIT")
        except (InterfaceError, OperationalError):
            report("the connection that held the advisory lock was lost during the migration")


@contextmanager
def _transaction(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """A cursor in a transaction that does not wait long for a table in use."""
    with connection, connection.cursor() as cursor:
        cursor.execute(statements("migrate")["limit_lock_wait"])
        yield cursor


def _revision(connection: extensions.connection, steps: Steps) -> str | None:
    sql = statements("migrate")
    with _transaction(connection) as cursor:
        cursor.execute(sql["has_version"])
        found = None
        if cursor.fetchone() == (True,):
            cursor.execute(sql["version"])
            found = cursor.fetchone()
    if found is None:
        return None
    revision = str(found[0])
    if revision not in steps.names:
        raise DatabaseError(
            f"the database is at step {revision}, which this version of otel-ratelimit does not know (its"
            f" last one is {steps.names[-1]}); use the version that applied it, or a later one"
        )
    return revision


def _make_schema(connection: extensions.connection) -> None:
    sql = statements("migrate")
    with _transaction(connection) as cursor:
        cursor.execute(sql["has_schema"])
        if cursor.fetchone() != (True,):
            cursor.execute(sql["make_schema"])


def _remove_schema(connection: extensions.connection, report: Callable[[str], None]) -> None:
    sql = statements("migrate")
    with _transaction(connection) as cursor:
        cursor.execute(sql["has_version"])
        if cursor.fetchone() == (True,):
            cursor.execute(sql["drop_version"])
    try:
        with _transaction(connection) as cursor:
            cursor.execute(sql["schema_is_ours"])
            if cursor.fetchone() == (True,):
                cursor.execute(sql["drop_schema"])
    except errors.DependentObjectsStillExist:
        report(f"the schema {SCHEMA} stays: it contains objects that otel-ratelimit did not create")


def _run_alembic(
    connection: extensions.connection,
    steps: Steps,
    direction: str,
    target: str,
    report: Callable[[str], None],
) -> None:
    """Apply the steps without `alembic.command`.

    `alembic.command` sets global state (`alembic.context`, `alembic.op`) and removes it afterwards: an
    `env.py` that loads an application which migrates here would lose its own.
    """
    from alembic.migration import MigrationContext  # imported late: only migrations need Alembic
    from opentelemetry.instrumentation.utils import suppress_instrumentation  # as above
    from sqlalchemy import create_engine, event  # as above
    from sqlalchemy.exc import DBAPIError  # as above
    from sqlalchemy.pool import StaticPool  # as above

    def limit_lock_wait(transaction: Any) -> None:
        transaction.exec_driver_sql(statements("migrate")["limit_lock_wait"])

    def applied(*, step: Any, **_: object) -> None:
        report(f"{direction} {step.up_revision_id}")

    def steps_from(revision: Any, _context: object) -> Any:
        find = steps.scripts._upgrade_revs if direction == "upgrade" else steps.scripts._downgrade_revs  # noqa: SLF001 - as `alembic.command` does
        return find(target, revision)

    # SQLAlchemy may be instrumented by the application.
    with suppress_instrumentation():
        engine = create_engine("postgresql+psycopg2://", creator=lambda: connection, poolclass=StaticPool)
        event.listen(engine, "begin", limit_lock_wait)
        try:
            with engine.connect() as bound:
                context = MigrationContext.configure(
                    bound,
                    opts={
                        "fn": steps_from,
                        "version_table": VERSION_TABLE,
                        "version_table_schema": SCHEMA,
                        "transaction_per_migration": True,
                        "on_version_apply": (applied,),
                    },
                )
                with context.begin_transaction():
                    context.run_migrations(connection=bound)
        except DBAPIError as error:
            raise (error.orig or error) from error
