"""A day of the query log, read from the database a piece at a time."""

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
from otel_ratelimit.postgres.connection import OwnConnection, dsn, keywords
from otel_ratelimit.postgres.copied_rows import (
    ROW,
    CopyBlocks,
    executions,
    hot_executions,
    hot_rows,
)
from otel_ratelimit.postgres.read_ahead import ReadAhead
from otel_ratelimit.postgres.refusals import beginning, no_connection, translated
from otel_ratelimit.postgres.statements import statements
from otel_ratelimit.postgres.text import storable

BLOCK_BYTES: Final = 24_000_000
_SMALLER_IF_HOT: Final = 3
"""Of what is read, hot rows have more to play back: each of their seconds."""
CONNECT_SECONDS: Final = 10
LONGEST_SECONDS: Final = 1_800
"""For one statement; a server that is gone is noticed within `_SILENCE_SECONDS`."""
_SILENCE_SECONDS: Final = 60
_WORK_MEMORY: Final = "64MB"
"""For sorting; the server's default would take a few files more."""


@contextmanager
def postgres_day(
    url: str | Secret, period: Period, *, service: str | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[PostgresDay]:
    """The day that began at `period.start`, as it is known now, whatever arrives meanwhile.

    Two connections of its own: COPY needs one that waits, and nothing else must wait for it. While the one
    hands over the rows of hot keys, the server sorts the others for the second.

    Args:
        url: of the database.
        period: from one midnight to the next.
        service: whose queries; None for all. Writes are those of all services, as they make results stale
            whoever has cached them.
        block_bytes: read at a time.

    Raises:
        DatabaseError: no connection, or the database refused something; within the context as well.
    """
    with (
        closing(_connect(url)) as connection,
        closing(_connect(url)) as second,
        translated(connection),
        closing(PostgresDay(connection, second, period, service, block_bytes)) as day,
    ):
        yield day


class PostgresDay:
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
        self._reading: dict[str, ReadAhead] = {}
        self._sql = statements("cache_day")
        self._asked: dict[str, Any] = {
            "start": period.start,
            "end": period.end,
            "service": None if service is None else storable(service),
        }
        connection.autocommit = second.autocommit = True
        limits = {"work_memory": _WORK_MEMORY, "longest_ms": LONGEST_SECONDS * 1000}
        with connection.cursor() as cursor, second.cursor() as other:
            with beginning():
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

        # Sorting takes the server a while, in which we play these back.
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
            self._reading[name] = ReadAhead(connection, statement, block_bytes)

    def _rows(self, name: str) -> list[tuple[Any, ...]]:
        return self._rows_of(self._sql[name])

    def _rows_of(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, self._asked)
            return cursor.fetchall() if cursor.description else []


class _WholeKeys:
    """Hands rows on so that no key is in two pieces."""

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
    """Which template has that hash, in the database of that number, counted from 1."""
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
        raise no_connection(given, str(error)) from None
