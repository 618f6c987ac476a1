"""The two ways to an answer, from the database alone or by cache-aside, and how long each takes."""

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
    """What a way's reads took, seconds in sum."""

    reads: int = 0
    hits: int = 0
    whole: float = 0.0
    """As the application sees it."""
    lookup: float = 0.0
    database: float = 0.0
    """In the server and on the way to it, as the capture measures it."""
    execute: float = 0.0
    """The same and the capture itself, as the application sees it."""
    fetch: float = 0.0
    store: float = 0.0

    @property
    def lookup_ms(self) -> float:
        """Of one."""
        return MS * self.lookup / self.reads

    @property
    def store_ms(self) -> float:
        """Of one."""
        return MS * self.store / (self.reads - self.hits)

    @property
    def calls(self) -> float:
        """Of PostgreSQL and the cache alone: without the capture, fetching rows, and what is between."""
        return self.lookup + self.database + self.store


class Stopwatch:
    """Tells a query log, and adds up how long executions took by what it is told."""

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
    """The application's connection, whose queries are told to one log or another."""

    def __init__(self, connection: Any, capture: CaptureTarget) -> None:
        self._connection = connection
        self._capture = capture

    def ask(self, read: Read, log: Stopwatch, spent: Spent) -> list[tuple[Any, ...]]:
        """The rows, from PostgreSQL."""
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
        """The rows; what it took is added to `spent`."""


class Direct:
    """All from PostgreSQL."""

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
    """From the cache, and from PostgreSQL what is not there."""

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
