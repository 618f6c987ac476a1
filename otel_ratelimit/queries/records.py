"""Records of queries, on its way from the capture to the database.

QueryTemplate   what code ran: a statement without its literals
QueryRow        one execution of a sampled key, or a window of a hot one: a row of `query_logs`
TemplateTotal   how often a template ran in a minute, sampled or not
TableWrite      how often a table was written in a minute
RequestRepeats  requests of an endpoint that ran one template again and again
QueryBatch      what is written in one step, once
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import UUID

from otel_ratelimit.core.names import UNREADABLE_TEMPLATE

Tier = Literal["hot", "cold"]


@dataclass(frozen=True, slots=True)
class QueryTemplate:
    """A row of `query_templates`, but for when it was seen."""

    hash: int
    """The first 64 bits of the text's hash, signed."""
    text: str
    """Without comments and literals, lists collapsed."""
    operation: str
    """First word of the (first) statement, in lower case: `select`, `insert`."""
    tables: tuple[str, ...]
    """Tables that it names, in lower case unless quoted, with the schema if it gives one; sorted, unique."""
    is_write: bool
    """It may change data, or locks rows: never to be cached."""
    volatile: bool
    """It calls `now()`, `random()` or the like: equal texts have different results."""
    written: tuple[tuple[str, str], ...] = ()
    """Tables that it writes, and how: `insert`, `update`, `delete` and so on."""


UNREADABLE: Final = QueryTemplate(1, UNREADABLE_TEMPLATE, "other", (), is_write=False, volatile=False)
"""Stands for statements whose literals cannot be told for certain, so that none of their text is kept.

The server may have rejected the statement, or may read it in another way than this package does. In the
database the text is `<refused>`, which stays as it is because rows of earlier versions have it.
"""


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A row of `query_logs`; its other columns come from the template."""

    ts: float
    """Unix time at which the first execution started, seconds."""
    template: QueryTemplate
    key: bytes
    """16 bytes: the key under which a cache would hold the result."""
    n: int
    """Executions that the row stands for."""
    sample_rate: float
    """Share of the keys of its tier that were kept; 1.0 for hot keys."""
    tier: Tier
    duration_us: int
    """Mean duration, microseconds."""
    rows: int | None
    """Rows returned or touched, of the last execution."""
    result_bytes: int | None
    endpoint: str | None
    """Route template of the request, of the first execution."""
    trace_id: str | None
    """32 hex digits, of the first execution."""
    database: str
    in_txn: bool
    status: str
    """`ok`, or the SQLSTATE of the error."""
    buckets: tuple[int, ...] | None
    """Executions in each second from `ts` on, where the row stands for several; their sum is `n`."""


@dataclass(frozen=True, slots=True)
class TemplateTotal:
    """A row of `query_totals`: every execution counts, whether its key was sampled or not."""

    minute: int
    """Unix time at which the minute began, seconds."""
    template: QueryTemplate
    database: str
    n: int
    """Executions, failed ones included."""
    failed: int
    dropped: int
    """Executions that should have been kept in `query_logs`, for which there was no room."""


@dataclass(frozen=True, slots=True)
class TableWrite:
    """A row of `table_writes`."""

    minute: int
    database: str
    table: str
    operation: str
    n: int
    """Statements that wrote it, without those that failed."""


@dataclass(frozen=True, slots=True)
class RequestRepeats:
    """A row of `query_repeats`: an N+1 pattern."""

    minute: int
    endpoint: str
    template: QueryTemplate
    requests: int
    """Requests in which the template ran at least as often as makes a pattern."""
    executions: int
    """Its executions in those requests."""
    most: int
    """Executions in the worst of these requests."""
    trace_id: str | None
    """Trace of the worst of these requests."""


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """Rows that are written together. The database recognises by `id` a batch that is sent twice."""

    id: UUID
    process: str
    """The process that recorded it."""
    rows: tuple[QueryRow, ...]
    totals: tuple[TemplateTotal, ...]
    writes: tuple[TableWrite, ...]
    repeats: tuple[RequestRepeats, ...]


class QueryBatchWriter(Protocol):
    """Where batches go."""

    def write(self, batch: QueryBatch) -> None:
        """Write `batch` and the templates it names, whole or not at all; skip one that was written before.

        Raises:
            DatabaseError: it could not be written, or it is unknown whether it was.
        """

    def close(self) -> None:
        """Close the connection."""
