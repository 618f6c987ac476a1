"""The database of analytics: one connection to read, another for the background thread to write."""

from __future__ import annotations

from collections.abc import Mapping

from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.analytics_reader import READ_SECONDS
from otel_ratelimit.postgres.embedded.database import EmbeddedDatabase, is_embedded
from otel_ratelimit.postgres.migrate import upgrade


class AnalyticsDatabase:
    """Both connections, and the server where the database is an embedded one.

    Args:
        url: the database.
        environ: the environment of an embedded server.

    Attributes:
        reading: for the HTTP API; a statement may take `READ_SECONDS`.
        writing: for the background thread.

    Raises:
        DatabaseError: `url` cannot be understood.
    """

    def __init__(self, url: Secret, environ: Mapping[str, str]) -> None:
        self._embedded = EmbeddedDatabase(url, upgrade, environ) if is_embedded(url) else None
        where = url if self._embedded is None else self._embedded.url
        self.reading = Database(where, statement_seconds=READ_SECONDS)
        self.writing = Database(where)

    def close(self) -> None:
        """Close both connections, and stop the server that this process runs."""
        self.reading.close()
        self.writing.close()
        if self._embedded is not None:
            self._embedded.close()

    def reset_after_fork(self) -> None:
        """Leave connections and server to the parent."""
        self.reading.reset_after_fork()
        self.writing.reset_after_fork()
        if self._embedded is not None:
            self._embedded.reset_after_fork()
