"""What is kept of queries, on its way from the capture to the database.

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

Tier = Literal["hot", "cold"]


@dataclass(frozen=True, slots=True)
class QueryTemplate:
    """A row of `query_templates`, but for when it was seen."""

    hash: int
    """The first 64 bits of the text's hash, signed."""
    text: str
    """Without comments and literals, lists collapsed."""
    operation: str
    """The statement's first word in lower case (`select`, `insert`); of several statements the first's."""
    tables: tuple[str, ...]
    """Those it names, in lower case unless quoted, with a schema where it gives one; sorted, each once."""
    is_write: bool
    """It may change data, or locks rows: never to be cached."""
    volatile: bool
    """It calls `now()`, `random()` or the like: equal text, unequal results."""
    written: tuple[tuple[str, str], ...] = ()
    """Those of the tables that it writes, and how: `insert`, `update`, `delete` and so on."""


REFUSED: Final = QueryTemplate(1, "<refused>", "other", (), is_write=False, volatile=False)
"""Stands for statements that the server could not make sense of: without quotes a value is in no literal."""


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A row of `query_logs`; what else stands there comes from the template."""

    ts: float
    """Unix time at which the first of them began, seconds."""
    template: QueryTemplate
    key: bytes
    """16 bytes: what a cache would have held."""
    n: int
    """Executions that it stands for."""
    sample_rate: float
    """Share of the keys of its tier that were kept; 1.0 for hot ones."""
    tier: Tier
    duration_us: int
    """Microseconds, the mean."""
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
    """Executions in each second from `ts` on, where it stands for several; their sum is `n`."""


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
    """Executions that were to be kept in `query_logs` and had no room."""


@dataclass(frozen=True, slots=True)
class TableWrite:
    """A row of `table_writes`."""

    minute: int
    database: str
    table: str
    operation: str
    n: int
    """Statements that wrote it, those that failed not counted."""


@dataclass(frozen=True, slots=True)
class RequestRepeats:
    """A row of `query_repeats`: an N+1 pattern, or what looks like one."""

    minute: int
    endpoint: str
    template: QueryTemplate
    requests: int
    """Requests in which the template ran as often as makes a pattern, or more often."""
    executions: int
    """Its executions in those requests."""
    most: int
    """Executions in the worst of them."""
    trace_id: str | None
    """Of the worst of them."""


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """Rows that are written together; `id` lets the database know one that is sent twice."""

    id: UUID
    process: str
    """Which process recorded it."""
    rows: tuple[QueryRow, ...]
    totals: tuple[TemplateTotal, ...]
    writes: tuple[TableWrite, ...]
    repeats: tuple[RequestRepeats, ...]


class QueryBatchWriter(Protocol):
    """Where batches go."""

    def write(self, batch: QueryBatch) -> None:
        """Write `batch` and the templates it names, whole or not at all; one written before is not again.

        Raises:
            DatabaseError: it could not be written, or it is not known whether it was.
        """

    def close(self) -> None:
        """Give up the connection."""
