"""The tables whose rows are deleted when they are too old, and the column that holds the time of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg2 import sql

SCHEMA: Final = "otel_ratelimit"


@dataclass(frozen=True, slots=True)
class AgedTable:
    """A table, and the statements of `old_rows.sql` for it."""

    name: str
    time_column: str
    stored_in: str = ""
    """The table that holds the rows, where it is not the table itself."""
    oldest: str = "oldest"
    delete: str = "delete"
    count: str = "count_by_service"

    def fill(self, statement: str) -> sql.Composed:
        """`statement` with the table and its column of time for `{table}` and `{time}`."""
        return sql.SQL(statement).format(
            table=sql.Identifier(SCHEMA, self.stored_in or self.name), time=sql.Identifier(self.time_column)
        )


def _indexed_by_service(name: str, time_column: str) -> AgedTable:
    return AgedTable(name, time_column, oldest="oldest_by_service_index", delete="delete_by_service_index")


AGED_TABLES: Final = (
    _indexed_by_service("rate_limit_analytics", "occurred_at"),
    _indexed_by_service("rate_limit_usage", "minute"),
    AgedTable("table_writes", "minute"),
    AgedTable("query_totals", "minute"),
    AgedTable("query_repeats", "minute"),
    # Rows of days without a partition; partitions are dropped as a whole.
    AgedTable("query_logs", "ts", stored_in="query_logs_default", delete="delete_query_logs"),
    AgedTable("query_templates", "last_seen", delete="delete_query_templates", count="count_of_all"),
)
QUERY_TABLES: Final = (
    AgedTable("table_writes", "minute"),
    AgedTable("query_totals", "minute"),
    AgedTable("query_repeats", "minute"),
    AgedTable("query_logs", "ts"),
)
"""Tables with queries of services, which may keep them for less long than others do."""
