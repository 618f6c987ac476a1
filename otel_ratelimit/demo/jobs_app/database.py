"""The application's way to PostgreSQL: a pool of connections and one method to run a query."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from psycopg2 import extensions
from psycopg2.extras import RealDictCursor
from psycopg2.pool import ThreadedConnectionPool

Row: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None


class DatabaseManager:
    """Runs queries on pooled connections; every query is its own transaction.

    Args:
        dsn: where the database is; without it, the variable DATABASE_URL when first needed.
        most: how many connections there may be: no fewer than the server has threads.
    """

    def __init__(self, dsn: str | None = None, most: int = 16) -> None:
        self._dsn = dsn
        self._most = most
        self._pool: ThreadedConnectionPool | None = None
        self._lock = threading.Lock()

    def execute_query(self, sql: str, params: Parameters = None) -> list[Row]:
        """Run `sql` and return its rows; none for a statement that returns none."""
        with self._connection() as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute(sql, params)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def fetch_one(self, sql: str, params: Parameters = None) -> Row | None:
        """The first row, or None."""
        rows = self.execute_query(sql, params)
        return rows[0] if rows else None

    def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.closeall()
            self._pool = None

    @contextmanager
    def _connection(self) -> Iterator[extensions.connection]:
        pool = self._pool or self._open()
        connection = pool.getconn()
        try:
            with connection:
                yield connection
        finally:
            pool.putconn(connection)

    def _open(self) -> ThreadedConnectionPool:
        # Opened by the first query, so that a server which forks its workers shares no connection.
        with self._lock:
            if self._pool is None:
                dsn = self._dsn or os.environ.get("DATABASE_URL")
                if not dsn:
                    raise RuntimeError("DATABASE_URL is not set; for example postgresql:///jobs")
                self._pool = ThreadedConnectionPool(1, self._most, dsn)
            return self._pool


database = DatabaseManager()
