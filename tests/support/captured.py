"""An observer of psycopg2's queries that keeps them."""

from __future__ import annotations

from typing import NamedTuple

from otel_ratelimit.queries.execution_key import ExecutionKeys

KEYS = ExecutionKeys(b"secret of this test")


class Execution(NamedTuple):
    statement: str
    sent: bytes
    context: bytes
    nanoseconds: int
    in_txn: bool
    rows: int | None
    size: int | None
    status: str


class Seen:
    """An observer that keeps the executions reported to it."""

    def __init__(self):
        self.executions = []

    def executed(
        self, statement, sent, session, nanoseconds, in_txn, size_of, result, status="ok", started=None
    ):
        told = (statement, sent, session.context, nanoseconds, in_txn, *size_of(result, True), status)
        self.executions.append(Execution(*told))

    @property
    def sizes(self):
        return [execution.size for execution in self.executions]

    @property
    def statements(self):
        return [execution.statement for execution in self.executions]

    @property
    def sent(self):
        return [execution.sent.decode() for execution in self.executions]

    @property
    def keys(self):
        return [KEYS.key(execution.context, execution.sent) for execution in self.executions]

    def clear(self):
        self.executions.clear()
