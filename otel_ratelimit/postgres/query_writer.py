"""Writes batches of the query log: each once, with one statement and one round trip.

PostgreSQL's COPY is fast for many rows, but psycopg2 offers it neither on a connection with a deadline nor in
one round trip with the batch's id. So rows are sent as JSON, as violations are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.postgres.batch_tables import BatchTables, Part
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.storable_text import json_rows, storable
from otel_ratelimit.queries.records import QueryBatch, QueryRow, QueryTemplate

_MOST: Final = 2**63 - 1
_MAX_TEMPLATE_CHARACTERS: Final = 10_000
_MAX_TABLES: Final = 100
_PARTS: Final = (
    Part("query_templates", "0002", "templates"),
    Part("query_logs", "0002", "executions"),
    Part("query_totals", "0004", "executions in the totals"),
    Part("table_writes", "0002", "writes of tables"),
    Part("query_repeats", "0004", "requests with repeated queries"),
)


class PostgresQueryWriter:
    """A `QueryBatchWriter`.

    Args:
        database: the database; the caller closes it.
        clock: Unix time at which templates are seen.
        service: returns `service.name` of the application; called for each batch, as it may be known late.
        host_clock: Unix time of the clock that stamps executions, seconds.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        service: Callable[[], str] = str,
        host_clock: Callable[[], float] = unix_time,
    ) -> None:
        self._clock = clock
        self._service = service
        self._tables = BatchTables(database, "queries", _PARTS, what="query logs", host_clock=host_clock)

    def write(self, batch: QueryBatch) -> None:
        """Write `batch` completely or not at all; a batch that was written before is not written again.

        Raises:
            PartWrittenError: everything was written except the rows of tables that were dropped.
            DatabaseError: it could not be written, or it is unknown whether it was.
        """
        named = [row.template for row in batch.rows]
        named += [total.template for total in batch.totals]
        named += [found.template for found in batch.repeats]
        templates = {template.hash: template for template in named}
        parameters = {
            "id": str(batch.id),
            "now": self._clock(),
            "process": storable(batch.process),
            "service": storable(self._service()),
            "templates": json_rows(map(_template, templates.values())),
            "rows": json_rows(map(_row, batch.rows)),
            "totals": json_rows(
                {
                    "minute": total.minute,
                    "template": total.template.hash,
                    "database": storable(total.database),
                    "n": _count(total.n),
                    "failed": _count(total.failed),
                    "dropped": _count(total.dropped),
                }
                for total in batch.totals
            ),
            "writes": json_rows(
                {
                    "minute": write.minute,
                    "database": storable(write.database),
                    "table_name": storable(write.table),
                    "op": storable(write.operation),
                    "n": _count(write.n),
                }
                for write in batch.writes
            ),
            "repeats": json_rows(
                {
                    "minute": found.minute,
                    "endpoint": storable(found.endpoint),
                    "template": found.template.hash,
                    "requests": found.requests,
                    "executions": found.executions,
                    "most": found.most,
                    "trace_id": found.trace_id,
                }
                for found in batch.repeats
            ),
        }
        amounts = {
            "query_templates": len(templates),
            "query_logs": sum(row.n for row in batch.rows),
            "query_totals": sum(total.n for total in batch.totals),
            "table_writes": sum(write.n for write in batch.writes),
            "query_repeats": sum(found.requests for found in batch.repeats),
        }
        self._tables.write(parameters, amounts)

    def close(self) -> None:
        """Log losses that are not logged yet; the database stays open, because it is shared."""
        self._tables.close()


def _template(template: QueryTemplate) -> dict[str, Any]:
    return {
        "hash": template.hash,
        "template": storable(template.text, _MAX_TEMPLATE_CHARACTERS),
        "operation": storable(template.operation),
        "tables": [storable(table) for table in template.tables[:_MAX_TABLES]],
        "is_write": template.is_write,
        "volatile": template.volatile,
    }


def _row(row: QueryRow) -> dict[str, Any]:
    return {
        "ts": row.ts,
        "template": row.template.hash,
        "key": row.key.hex(),
        "n": _count(row.n),
        "sample_rate": row.sample_rate,
        "tier": row.tier,
        "duration_us": _count(row.duration_us),
        "rows": None if row.rows is None or row.rows < 0 else _count(row.rows),
        "result_bytes": None if row.result_bytes is None else _count(row.result_bytes),
        "endpoint": None if row.endpoint is None else storable(row.endpoint),
        "trace_id": row.trace_id,
        "database": storable(row.database),
        "in_txn": row.in_txn,
        "status": storable(row.status),
        "buckets": row.buckets,
    }


def _count(number: int) -> int:
    """`number` within the range of the column: a clock that was set back must not make a whole batch fail."""
    return min(max(number, 0), _MOST)
