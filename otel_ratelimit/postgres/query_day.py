"""Reads a day of the query log for the analysis, a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import numpy as np
import psycopg2
from psycopg2 import extensions

from otel_ratelimit.cache_advice.query_day import Count, Executions, HotExecutions, Ints, Template, Writes
from otel_ratelimit.core.periods import Period
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres.connection import OwnConnection
from otel_ratelimit.postgres.connection_string import dsn, keywords
from otel_ratelimit.postgres.copy_decoder import (
    ROW,
    CopyBlocks,
    executions,
    hot_executions,
    hot_rows,
)
from otel_ratelimit.postgres.copy_reader import CopyReader
from otel_ratelimit.postgres.error_translation import connection_error, first_transaction, translated_errors
from otel_ratelimit.postgres.sql_files import statements
from otel_ratelimit.postgres.storable_text import storable

BLOCK_BYTES: Final = 24_000_000
_SMALLER_IF_HOT: Final = 3
"""Blocks of hot rows are smaller, because each second of a hot row is replayed."""
CONNECT_SECONDS: Final = 10
LONGEST_SECONDS: Final = 1_800
"""The limit of one statement; a server that is gone is noticed within `_SILENCE_SECONDS`."""
_SILENCE_SECONDS: Final = 60
_WORK_MEMORY: Final = "64MB"
"""For sorting; with the server's default it would use more temporary files."""


@contextmanager
def postgres_query_day(
    url: str | Secret, period: Period, *, service: str | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[PostgresQueryDay]:
    """A snapshot of the day that began at `period.start`.

    It opens two connections: COPY needs one that waits, and nothing else must wait for it. While one
    connection sends the rows of hot keys, the server sorts the other rows for the second one.

    Args:
        url: of the database.
        period: from one midnight to the next.
        service: whose queries; None for all. Writes are those of all services, because they make cached
            results of any service stale.
        block_bytes: size of a block.

    Raises:
        DatabaseError: no connection, or a statement failed; within the context as well.
    """
    with (
        closing(_connect(url)) as connection,
        closing(_connect(url)) as second,
        translated_errors(connection),
        closing(PostgresQueryDay(connection, second, period, service, block_bytes)) as day,
    ):
        yield day


class PostgresQueryDay:
    """A `QueryDay`."""

    def __init__(
        self,
        connection: extensions.connection,
        second: extensions.connection,
        period: Period,
        service: str | None,
        block_bytes: int,
    ) -> None:
        self.period = period
        self._connection = connection
        self._copies = {
            "hot": (connection, block_bytes // _SMALLER_IF_HOT),
            "cold": (second, block_bytes),
        }
        self._reading: dict[str, CopyReader] = {}
        self._sql = statements("query_day")
        self._asked: dict[str, Any] = {
            "start": period.start,
            "end": period.end,
            "service": None if service is None else storable(service),
        }
        connection.autocommit = second.autocommit = True
        limits = {"work_memory": _WORK_MEMORY, "longest_ms": LONGEST_SECONDS * 1000}
        with connection.cursor() as cursor, second.cursor() as other:
            with first_transaction():
                cursor.execute(self._sql["begin"], limits)
                cursor.execute(self._sql["snapshot"])
            [(snapshot,)] = cursor.fetchall()
            other.execute(
                f"{self._sql['begin']}; SET TRANSACTION SNAPSHOT %(snapshot)s",
                {**limits, "snapshot": snapshot},
            )
            for each in (cursor, other):
                each.execute(self._sql["no_transaction_timeout"])
        found = self._rows("templates")
        self.templates: Sequence[Template] = [
            Template(hash_, database, text, operation, tuple(tables), float(mean_bytes))
            for hash_, database, text, operation, tables, mean_bytes, *_ in found
        ]
        self.lowest_rate = min((float(rate) for *_, rate, _, _, _ in found), default=1.0)
        self.counts: Mapping[int, Count] = {
            place: Count(n, failed, dropped) for place, (*_, n, failed, dropped) in enumerate(found) if n >= 0
        }
        self._asked["databases"] = sorted({template.database for template in self.templates})
        self._places = _places(self.templates, self._asked["databases"])
        self.writes = _by_table(self._rows("writes"))

    def hot(self, take: Callable[[HotExecutions], None]) -> None:
        """All rows of keys that were ever hot, by time."""

        def taken(block: bytes) -> int:
            begins = hot_rows(block)
            if len(begins) > 1:
                take(hot_executions(block, begins, self._places))
            return begins[-1]

        # The server sorts the cold rows while these are replayed.
        self._begin("cold")
        self._copy("hot", taken)

    def cold(self, take: Callable[[Executions], None]) -> None:
        """All other rows, by key and then by time."""
        whole = _WholeKeys(take)

        def taken(block: bytes) -> int:
            rows = executions(block, self._places)
            if len(rows):
                whole.add(rows)
            return len(rows) * ROW.itemsize

        self._copy("cold", taken)
        whole.finish()

    def close(self) -> None:
        """Stop reading."""
        for reading in self._reading.values():
            reading.close()

    def _copy(self, name: str, take: Callable[[bytes], int]) -> None:
        self._begin(name)
        blocks = CopyBlocks(take)
        for piece in self._reading[name]:
            blocks.write(piece)
        blocks.finish()
        del self._reading[name]

    def _begin(self, name: str) -> None:
        if name not in self._reading:
            connection, block_bytes = self._copies[name]
            with connection.cursor() as cursor:
                statement = cursor.mogrify(self._sql[name], self._asked)
            self._reading[name] = CopyReader(connection, statement, block_bytes)

    def _rows(self, name: str) -> list[tuple[Any, ...]]:
        return self._rows_of(self._sql[name])

    def _rows_of(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, self._asked)
            return cursor.fetchall() if cursor.description else []


class _WholeKeys:
    """Passes rows on so that the rows of one key are in one piece."""

    def __init__(self, take: Callable[[Executions], None]) -> None:
        self._take = take
        self._held: list[Executions] = []

    def add(self, rows: Executions) -> None:
        last = int(np.searchsorted(rows.key, rows.key[-1]))
        if last:
            self._held.append(rows.where(np.arange(last)))
            self.finish()
            rows = rows.where(np.arange(last, len(rows)))
        elif self._held and self._held[-1].key[-1] != rows.key[0]:
            self.finish()
        self._held.append(rows)

    def finish(self) -> None:
        held, self._held = self._held, []
        if held:
            self._take(held[0] if len(held) == 1 else Executions.together(held))


def _places(templates: Sequence[Template], databases: Sequence[str]) -> Callable[[Ints, Ints], Ints]:
    """A function from template hash and database number, from 1, to the place of the template."""
    hashes = np.unique(np.array([template.hash for template in templates], dtype=np.int64))
    known = np.full((len(hashes), len(databases) + 1), -1, dtype=np.int64)
    for place, template in enumerate(templates):
        known[np.searchsorted(hashes, template.hash), databases.index(template.database) + 1] = place

    def found(of: Ints, numbers: Ints) -> Ints:
        return np.asarray(known[np.searchsorted(hashes, of), numbers])

    return found


def _by_table(rows: list[tuple[Any, ...]]) -> Mapping[tuple[str, str], Writes]:
    found: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for database, table, minute, n in rows:
        minutes, counts = found.setdefault((database, table), ([], []))
        minutes.append(minute)
        counts.append(n)
    return {
        table: Writes(np.array(minutes, dtype=np.int64), np.array(counts, dtype=np.int64))
        for table, (minutes, counts) in found.items()
    }


def _connect(url: str | Secret) -> extensions.connection:
    given = keywords(dsn(url))
    limits = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": _SILENCE_SECONDS // 2,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": _SILENCE_SECONDS * 1000,
    }
    try:
        return OwnConnection(extensions.make_dsn(None, **{**given, **limits}))
    except psycopg2.Error as error:
        raise connection_error(given, str(error)) from None
