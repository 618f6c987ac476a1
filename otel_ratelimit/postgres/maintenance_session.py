"""The database session of one maintenance run: short transactions, and failures that the run survives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from psycopg2 import sql

from otel_ratelimit.core.errors import DatabaseError, SchemaMissingError
from otel_ratelimit.postgres.connection import Answer, Session, Transaction
from otel_ratelimit.postgres.dropped_tables import DroppedTables
from otel_ratelimit.postgres.sql_files import statements

T = TypeVar("T")


class MaintenanceSession:
    """A session whose transactions wait neither for tables in use nor for a silent server.

    Args:
        session: with the database.
        patience_seconds: the limit of one transaction.
        report: called with a sentence for each thing that was done.
    """

    def __init__(self, session: Session, patience_seconds: float, report: Callable[[str], None]) -> None:
        self.report = report
        self._session = session
        self._patience_seconds = patience_seconds
        self._begin = statements("maintenance")["begin"]
        self._dropped = DroppedTables(self.transaction)
        self._failures: dict[str, dict[str, None]] = {}

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction.

        Raises:
            DatabaseError: a statement failed, or there was no answer in time.
        """
        with self._session.transaction(self._patience_seconds) as transaction:
            # The server stops waiting as well.
            transaction.run(self._begin, {"milliseconds": int(self._patience_seconds * 1000)})
            yield transaction

    def run(self, statement: str | sql.Composed, parameters: Mapping[str, object] | None = None) -> Answer:
        """Run one statement in a transaction of its own.

        Raises:
            DatabaseError: it failed, or there was no answer in time.
        """
        with self.transaction() as transaction:
            return transaction.run(statement, parameters)

    def attempt(self, table: str, act: Callable[[], T], default: T) -> T:
        """The result of `act`; if the database rejects it, note the failure of `table` and return `default`.

        Raises:
            DatabaseError: the connection is lost.
        """
        try:
            return act()
        except DatabaseError as error:
            if not self._session.is_open:
                raise
            self.note_failure(table, error)
            return default

    def note_failure(self, table: str, error: DatabaseError) -> None:
        """Note that `table` could not be maintained."""
        said = str(error)
        if isinstance(error, SchemaMissingError) and self.was_dropped(table):
            said = self._dropped.remedy(table)
        self._failures.setdefault(said, {})[table] = None

    def was_dropped(self, table: str) -> bool:
        """Whether a migration created `table` and somebody has dropped it.

        Raises:
            DatabaseError: the database cannot be used.
        """
        return self._dropped.has(table)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each error, with the tables that it is about."""
        return tuple(f"{', '.join(tables)}: {error}" for error, tables in self._failures.items())
