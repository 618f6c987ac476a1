"""Writes a batch into several tables: once, with one statement, stamped by the database's clock.

Each table has a part of the statement. If somebody drops a table while the application runs, the others are
written without it; its rows are lost, which is counted and logged. If the tables do not exist yet, nothing is
written and nothing is lost: the batch waits.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from otel_ratelimit.core.clock import monotonic_time, unix_time
from otel_ratelimit.core.errors import PartWrittenError, SchemaMissingError
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.server_clock import TOLERANCE, ClockWarning
from otel_ratelimit.postgres.sql_files import statements

_logger = logging.getLogger(__name__)

BATCHES_KEPT: Final = timedelta(days=1)
"""How long `ingested_batches` is kept: a batch that arrives again within this time is recognised."""
_BATCHES: Final = "ingested_batches"
_KEYS: Final = "hash_keys"
_FIRST_STEP: Final = "0001"
_STAMP: Final = re.compile(r"\{at ([^{}]+)\}")
"""A moment of the host's clock in a statement."""
SAY_EVERY_SECONDS: Final = 3600.0


class Part(NamedTuple):
    """A table, as part of the statement."""

    table: str
    step: str
    """The number of the migration that creates it."""
    what: str
    """The name of its rows, for log lines about losses: `violations`."""


class BatchTables:
    """The tables that batches are written to.

    Args:
        database: the database.
        file: with the statements `write_<table>`.
        parts: the tables.
        what: the kind of rows, for the log.
        host_clock: Unix time of the clock that stamps rows, seconds.
        monotonic: instead of `time.monotonic`.
    """

    def __init__(
        self,
        database: Database,
        file: str,
        parts: tuple[Part, ...],
        *,
        what: str,
        host_clock: Callable[[], float] = unix_time,
        monotonic: Callable[[], float] = monotonic_time,
    ) -> None:
        self._database = database
        self._parts = parts
        self._sql = {**statements("batch_tables"), **statements(file)}
        self._host_clock = host_clock
        self._dropped: frozenset[str] = frozenset()
        self._shift: float | None = None
        self._losses = _Losses(parts, monotonic)
        self._clock_warning = ClockWarning(what)

    def write(
        self, parameters: Mapping[str, object], amounts: Mapping[str, int], secret: bytes | None = None
    ) -> bool:
        """Write a batch; False, and nothing is written, if `secret` is no longer the database's.

        Args:
            parameters: of the statements, with the batch's id.
            amounts: table to the amount in the batch, for log lines about losses.
            secret: the database's secret with which values in the batch are hashed, if any.

        Raises:
            PartWrittenError: everything was written except the rows of tables that were dropped.
            DatabaseError: it could not be written, or it is unknown whether it was.
        """
        if self._dropped:  # somebody may have restored them
            self._look()
        try:
            is_current = self._run(parameters, secret)
        except SchemaMissingError:
            if not self._look():
                raise
            is_current = self._run(parameters, secret)
        left_out = self._dropped.intersection(amounts)
        if is_current and left_out:
            self._losses.add({table: amounts[table] for table in left_out})
            raise PartWrittenError(left_out)
        return is_current

    def close(self) -> None:
        """Log losses that are not logged yet; may be called twice."""
        self._losses.say()

    def _run(self, parameters: Mapping[str, object], secret: bytes | None) -> bool:
        sent_at = self._host_clock()
        sql, is_keyed = self._sql, secret is not None and _KEYS not in self._dropped
        in_use = sql["secret_in_use"] if is_keyed else "true"
        batch = sql["batch_always" if _BATCHES in self._dropped else "batch_once"]
        parts = [sql["batch_sent"], batch.replace("{condition}", f"WHERE {in_use}")]
        parts += [sql[f"write_{part.table}"] for part in self._parts if part.table not in self._dropped]
        statement = "WITH " + ",\n".join(parts) + f"\nSELECT shift, {in_use} FROM sent"
        statement = _STAMP.sub(lambda found: sql["at"].replace("{stamp}", found[1]), statement)
        digest = hashlib.sha256(secret).hexdigest() if secret is not None else None
        given = {
            **parameters,
            "sent_at": sent_at,
            "former": self._shift,
            "tolerance": TOLERANCE.total_seconds(),
            "secret": digest,
        }
        [(shift, is_current)] = self._database.rows(statement, given)
        if is_current:
            self._shift = shift
        self._clock_warning.shifted(sent_at, shift)
        return bool(is_current)

    def _look(self) -> bool:
        """Find dropped tables; True if they are others than before, and some tables are left."""
        made = {_BATCHES: _FIRST_STEP, _KEYS: _FIRST_STEP, **{part.table: part.step for part in self._parts}}
        asked = {"tables": list(made), "steps": list(made.values())}
        rows = self._database.rows(self._sql["dropped_tables"], asked)
        found = frozenset(str(name) for (name,) in rows)
        if found.issuperset(part.table for part in self._parts):
            return False
        was, self._dropped = self._dropped, found
        self._losses.look(found)
        return was != found


class _Losses:
    """Logs the losses because of dropped tables: when they begin, once an hour, and when they end."""

    def __init__(self, parts: tuple[Part, ...], monotonic: Callable[[], float]) -> None:
        self._what = {part.table: part.what for part in parts}
        self._monotonic = monotonic
        self._lost: dict[str, int] = {}
        self._dropped: frozenset[str] = frozenset()
        self._say_at = 0.0
        self._is_said = True

    def look(self, dropped: frozenset[str]) -> None:
        """Note which tables are missing now."""
        for table in sorted(self._dropped - dropped):
            lost = (
                f"; {self._lost.pop(table, 0)} {self._what[table]} were lost" if table in self._what else ""
            )
            _logger.warning("the table otel_ratelimit.%s exists again%s", table, lost)
        for table in sorted(dropped - self._dropped):
            _logger.error(
                "the table otel_ratelimit.%s was dropped: %s; the other tables are written. Restore it with"
                " its indexes and grants, see docs/schema.md",
                table,
                self._consequence(table),
            )
        self._dropped = dropped
        self._say_at = self._monotonic() + SAY_EVERY_SECONDS

    def add(self, lost: Mapping[str, int]) -> None:
        """Add losses, by table."""
        for table, amount in lost.items():
            self._lost[table] = self._lost.get(table, 0) + amount
        self._is_said = False
        if self._monotonic() >= self._say_at:
            self._say_at = self._monotonic() + SAY_EVERY_SECONDS
            self.say()

    def say(self) -> None:
        """Log the total losses, unless they are logged already."""
        if self._is_said or not self._lost:
            return
        self._is_said = True
        said = [f"{amount} {self._what[table]}" for table, amount in sorted(self._lost.items())]
        _logger.error("lost so far, because their tables were dropped: %s", ", ".join(said))

    def _consequence(self, table: str) -> str:
        if table == _BATCHES:
            return "a batch may be counted twice if the answer to it is lost"
        if table == _KEYS:
            return "the secret for hashes that was read before stays in use"
        return f"{self._what[table]} are lost"
