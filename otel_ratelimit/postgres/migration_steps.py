"""The migration steps, `migrations/sql/NNNN_name.{up,down}.sql`; `migrations/versions` registers them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ratelimit.core.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

_PACKAGE: Final = Path(__file__).parents[1]


def sql_step(file: str) -> tuple[Callable[[Connection], None], Callable[[Connection], None]]:
    """The functions `upgrade` and `downgrade` of the revision `file`; they run the SQL files of that name.

    They get the connection as an argument and do not use `alembic.op`: see `migrate._run_alembic`.
    """
    step = Path(file)

    def run(connection: Connection, direction: str) -> None:
        text = read_sql(step.parents[1] / "sql", step.stem, direction)
        # Without parameters, so that a percent sign needs no escape.
        connection.exec_driver_sql(text, execution_options={"no_parameters": True})

    # Functions with these names, because Alembic logs the `__name__` of what it runs.
    def upgrade(connection: Connection) -> None:
        run(connection, "up")

    def downgrade(connection: Connection) -> None:
        run(connection, "down")

    return upgrade, downgrade


def find_migrations(package: Path = _PACKAGE) -> Path:
    """The folder of migrations: inside an installed `package`, beside it in a checkout.

    Raises:
        DatabaseError: it exists in neither place.
    """
    for folder in (package / "_shipped" / "migrations", package.parent / "migrations"):
        if (folder / "sql" / "0001_rate_limits.up.sql").is_file():
            return folder
    raise DatabaseError(f"the migrations are missing from {package}; install otel-ratelimit again")


def read_sql(folder: Path, step: str, direction: str) -> str:
    """The SQL file of `step` for `up` or `down`."""
    return (folder / f"{step}.{direction}.sql").read_text(encoding="utf-8")


class Steps:
    """All steps, in the order in which they are applied."""

    def __init__(self, folder: Path | None = None) -> None:
        from alembic.config import Config  # imported late: only migrations need Alembic
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
            ValueError: no step, or more than one, begins that way.
        """
        if revision in {None, "base"}:
            return ()
        if revision == "head":
            return self.names
        found = [index for index, name in enumerate(self.names) if revision and name.startswith(revision)]
        if len(found) != 1:
            known = ", ".join(self.names)
            raise ValueError(f"{revision!r} matches no step or several; write base, head or one of {known}")
        return self.names[: found[0] + 1]
