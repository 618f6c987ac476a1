"""The two ways to read, from the database alone or by cache-aside, and how long each takes."""

from __future__ import annotations

import hashlib
import pickle
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shop import Read

from otel_ratelimit.queries.capture_psycopg2 import CaptureTarget
from otel_ratelimit.queries.execution import QueryObserver, SessionContext

MS: Final = 1_000.0


@dataclass(slots=True)
class Spent:
    """Total time of the reads of one way, seconds."""

    reads: int = 0
    hits: int = 0
    whole: float = 0.0
    """Time of whole reads, as the application sees it."""
    lookup: float = 0.0
    database: float = 0.0
    """Time in the server and on the network, as the capture measures it."""
    execute: float = 0.0
    """The same including the capture itself, as the application sees it."""
    fetch: float = 0.0
    store: float = 0.0

    @property
    def lookup_ms(self) -> float:
        """Mean time of one lookup."""
        return MS * self.lookup / self.reads

    @property
    def store_ms(self) -> float:
        """Mean time of one store."""
        return MS * self.store / (self.reads - self.hits)

    @property
    def calls(self) -> float:
        """Time of the calls of PostgreSQL and the cache, without the capture and without fetching rows."""
        return self.lookup + self.database + self.store


class Stopwatch:
    """Passes executions on to a query log, and adds up the durations that the capture reports."""

    def __init__(self, log: QueryObserver) -> None:
        self._log = log
        self.nanoseconds = 0

    def executed(
        self, statement: str, sent: bytes, session: SessionContext, nanoseconds: int, *more: Any
    ) -> None:
        """See `QueryObserver`."""
        self.nanoseconds += nanoseconds
        self._log.executed(statement, sent, session, nanoseconds, *more)


class Shop:
    """The application's connection, whose queries go to the log given with each question."""

    def __init__(self, connection: Any, capture: CaptureTarget) -> None:
        self._connection = connection
        self._capture = capture

    def ask(self, read: Read, log: Stopwatch, spent: Spent) -> list[tuple[Any, ...]]:
        """The rows from PostgreSQL."""
        self._capture.observer, before = log, log.nanoseconds
        with self._connection.cursor() as cursor:
            begun = time.perf_counter()
            cursor.execute(read.text, (read.value,))
            executed = time.perf_counter()
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            fetched = time.perf_counter()
        spent.database += (log.nanoseconds - before) / 1e9
        spent.execute += executed - begun
        spent.fetch += fetched - executed
        return rows


class Way(Protocol):
    """How the application gets its answers."""

    spent: Spent

    def answer(self, read: Read) -> list[tuple[Any, ...]]:
        """The rows; the time taken is added to `spent`."""


class Direct:
    """Reads everything from PostgreSQL."""

    def __init__(self, shop: Shop, log: QueryObserver) -> None:
        self._shop = shop
        self._log = Stopwatch(log)
        self.spent = Spent()

    def answer(self, read: Read) -> list[tuple[Any, ...]]:
        """See `Way`."""
        begun = time.perf_counter()
        rows = self._shop.ask(read, self._log, self.spent)
        self.spent.whole += time.perf_counter() - begun
        self.spent.reads += 1
        return rows


class CacheAside:
    """Reads from the cache, and on a miss from PostgreSQL."""

    def __init__(self, shop: Shop, log: QueryObserver, client: Any, ttl: float, prefix: str) -> None:
        self._shop = shop
        self._log = Stopwatch(log)
        self._client = client
        self._ttl_ms = round(MS * ttl)
        self._prefix = prefix
        self.spent = Spent()

    def answer(self, read: Read) -> list[tuple[Any, ...]]:
        """See `Way`."""
        spent = self.spent
        begun = time.perf_counter()
        key = (
            self._prefix + hashlib.blake2b(f"{read.text}\0{read.value}".encode(), digest_size=16).hexdigest()
        )
        found = self._client.get(key)
        rows: list[tuple[Any, ...]] | None = None if found is None else pickle.loads(found)
        spent.lookup += time.perf_counter() - begun
        if rows is None:
            rows = self._shop.ask(read, self._log, spent)
            missed = time.perf_counter()
            self._client.set(key, pickle.dumps(rows, pickle.HIGHEST_PROTOCOL), px=self._ttl_ms)
            spent.store += time.perf_counter() - missed
        else:
            spent.hits += 1
        spent.whole += time.perf_counter() - begun
        spent.reads += 1
        return rows
