"""Brings a database's schema `otel_ratelimit` up or down, step by step, with Alembic.

The steps are `migrations/sql/NNNN_name.{up,down}.sql`; `migrations/versions` names them to Alembic. What
has been done stands in a version table of our own, so that an application's `alembic_version` is not touched.
A lock is taken before that table is looked at: of several processes one migrates, and the others find it
done. Each step is a transaction: it is done with its entry in that table, or not at all. Nothing is left to a
session, so all of this works through a pooler that gives each transaction another connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg2 import InterfaceError, OperationalError, errors, extensions

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres.schema_connection import session
from otel_ratelimit.postgres.sql_files import statements

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

SCHEMA: Final = "otel_ratelimit"
VERSION_TABLE: Final = "schema_version"
LOCK: Final = 0x6F74_656C_726C_0001
"""Key of the advisory lock; the letters are `otelrl`."""
_DROPPED: Final = re.compile(r"^DROP TABLE otel_ratelimit\.(\w+);", re.MULTILINE)
_PACKAGE: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Current:
    """Where a database stands."""

    revision: str | None
    """The last step carried out; None before the first."""
    head: str
    """The last step that this version of the package has."""
    pending: tuple[str, ...]
    """Steps that `upgrade` would carry out."""


@dataclass(frozen=True, slots=True)
class Downgrade:
    """What `downgrade` would do."""

    steps: tuple[str, ...]
    """Undone, the last first."""
    tables: tuple[str, ...]
    """Dropped with all data in them."""


def _silent(_: str) -> None:
    pass


def upgrade(
    url: str | Secret, *, revision: str = "head", report: Callable[[str], None] = _silent
) -> list[str]:
    """Carry out the steps up to `revision` that have not been; the names of those.

    Args:
        url: a `postgresql://` URL or a libpq connection string.
        revision: `head`, a step's name or the beginning of one.
        report: told what is being done, a sentence at a time.

    Raises:
        DatabaseError: it could not be done; steps reported before are.
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
    """Undo the steps after `revision`, the last first; the names of those. Their data are lost.

    `base` undoes everything: the schema goes too, unless somebody else made it or has put something in it.

    Args:
        url: a `postgresql://` URL or a libpq connection string.
        revision: `base`, a step's name or the beginning of one.
        report: told what is being done, a sentence at a time.

    Raises:
        DatabaseError: it could not be done; steps reported before are undone.
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
    """Where the database stands; changes nothing.

    Raises:
        DatabaseError: no connection, no right to look, or a schema newer than this package.
    """
    steps = Steps()
    with session(url) as connection:
        revision = _revision(connection, steps)
    done = steps.up_to(revision)
    return Current(done[-1] if done else None, steps.names[-1], steps.names[len(done) :])


def plan_downgrade(url: str | Secret, *, revision: str = "base") -> Downgrade:
    """What `downgrade` to `revision` would undo; changes nothing.

    Raises:
        DatabaseError: no connection, no right to look, or a schema newer than this package.
        ValueError: there is no such revision.
    """
    steps = Steps()
    kept = steps.up_to(revision)
    with session(url) as connection:
        done = steps.up_to(_revision(connection, steps))
    undone = tuple(reversed(done[len(kept) :]))
    tables = [
        table for step in undone for table in _DROPPED.findall(_sql(steps.folder / "sql", step, "down"))
    ]
    return Downgrade(undone, tuple(tables))


def _check_encoding(connection: extensions.connection) -> None:
    """Clients choose what they send, and only UTF8 can keep all of it."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        database = connection.info.dbname
        raise DatabaseError(
            f"database {database} is in {encoding}, and analytics need UTF8: name another, made with CREATE"
            " DATABASE analytics ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )


def sql_step(file: str) -> tuple[Callable[[Connection], None], Callable[[Connection], None]]:
    """`upgrade` and `downgrade` of the revision `file`: they run the SQL files of the same name.

    Both are given the connection, rather than `alembic.op`: see `_run_alembic`.
    """
    step = Path(file)

    def run(connection: Connection, direction: str) -> None:
        text = _sql(step.parents[1] / "sql", step.stem, direction)
        # Without parameters, so that a percent sign is one.
        connection.exec_driver_sql(text, execution_options={"no_parameters": True})

    # Functions, and of these names: Alembic logs the `__name__` of what it runs.
    def upgrade(connection: Connection) -> None:
        run(connection, "up")

    def downgrade(connection: Connection) -> None:
        run(connection, "down")

    return upgrade, downgrade


def find_migrations(package: Path = _PACKAGE) -> Path:
    """The folder of migrations: within an installed `package`, beside it in a checkout.

    Raises:
        DatabaseError: it is in neither place.
    """
    for folder in (package / "_shipped" / "migrations", package.parent / "migrations"):
        if (folder / "sql" / "0001_rate_limits.up.sql").is_file():
            return folder
    raise DatabaseError(f"the migrations are missing from {package}; install otel-ratelimit again")


def _sql(folder: Path, step: str, direction: str) -> str:
    return (folder / f"{step}.{direction}.sql").read_text(encoding="utf-8")


class Steps:
    """The steps there are, the first first."""

    def __init__(self, folder: Path | None = None) -> None:
        from alembic.config import Config  # only whoever migrates needs Alembic
        from alembic.script import ScriptDirectory  # as above

        self.folder = folder or find_migrations()
        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        self.scripts: ScriptDirectory = ScriptDirectory.from_config(config)
        found = [script.revision for script in self.scripts.walk_revisions()]
        self.names: tuple[str, ...] = tuple(reversed(found))

    def up_to(self, revision: str | None) -> tuple[str, ...]:
        """The steps up to `revision`, itself included.

        Raises:
            ValueError: there is no such step, or several begin that way.
        """
        if revision in {None, "base"}:
            return ()
        if revision == "head":
            return self.names
        found = [index for index, name in enumerate(self.names) if revision and name.startswith(revision)]
        if len(found) != 1:
            known = ", ".join(self.names)
            raise ValueError(f"{revision!r} names no step or several; write base, head or one of {known}")
        return self.names[: found[0] + 1]


@contextmanager
def _locked(url: str | Secret, report: Callable[[str], None]) -> Iterator[extensions.connection]:
    """A connection to work on; another holds the lock, which goes when that does, however that happens."""
    locks = statements("advisory_lock")
    with session(url) as guard, guard.cursor() as cursor:
        guard.autocommit = True  # the transaction begins as it is written
        cursor.execute(locks["begin"])
        cursor.execute(locks["no_transaction_timeout"])
        cursor.execute(locks["try_lock"], {"lock": LOCK})
        if cursor.fetchone() != (True,):
            report("waiting for another process that is migrating this database")
            cursor.execute(statements("migrate")["wait_for_lock"], {"lock": LOCK})
        with session(url) as connection:
            yield connection
        try:
            # A pooler closes what is closed within a transaction, and then the lock goes late.
            cursor.execute("COMMIT")
        except (InterfaceError, OperationalError):
            report("the connection that held the lock broke while the work was done")


@contextmanager
def _transaction(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """A cursor in a transaction that does not wait for long where a table is in use."""
    with connection, connection.cursor() as cursor:
        cursor.execute(statements("migrate")["be_brief"])
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
            f"the database is at step {revision}, and this version of otel-ratelimit knows none after"
            f" {steps.names[-1]}; use the version that made it, or a later one"
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
        report(f"the schema {SCHEMA} stays: it holds something that otel-ratelimit did not make")


def _run_alembic(
    connection: extensions.connection,
    steps: Steps,
    direction: str,
    target: str,
    report: Callable[[str], None],
) -> None:
    """Carry the steps out, without `alembic.command`.

    That puts its state where all of a process find it (`alembic.context`, `alembic.op`), and takes it away
    afterwards: an `env.py` that loads an application whose tables are made here would lose its own.
    """
    from alembic.migration import MigrationContext  # only whoever migrates needs Alembic
    from opentelemetry.instrumentation.utils import suppress_instrumentation  # as above
    from sqlalchemy import create_engine, event  # as above
    from sqlalchemy.exc import DBAPIError  # as above
    from sqlalchemy.pool import StaticPool  # as above

    def be_brief(transaction: Any) -> None:
        transaction.exec_driver_sql(statements("migrate")["be_brief"])

    def applied(*, step: Any, **_: object) -> None:
        report(f"{direction} {step.up_revision_id}")

    def steps_from(revision: Any, _context: object) -> Any:
        find = steps.scripts._upgrade_revs if direction == "upgrade" else steps.scripts._downgrade_revs  # noqa: SLF001  # as `alembic.command` does
        return find(target, revision)

    # SQLAlchemy may be instrumented by the application.
    with suppress_instrumentation():
        engine = create_engine("postgresql+psycopg2://", creator=lambda: connection, poolclass=StaticPool)
        event.listen(engine, "begin", be_brief)
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
