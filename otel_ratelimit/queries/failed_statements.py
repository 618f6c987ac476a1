"""Failed statements: after which errors of the server their text may be recorded."""

from __future__ import annotations

from typing import Final

from otel_ratelimit.queries.execution import OK
from otel_ratelimit.queries.records import UNREADABLE

_STATUSES_AFTER_NAME_LOOKUP: Final = frozenset({OK, "21000", "23503", "23505", "23P01", "40001"})
"""SQLSTATEs that the server sends only while it carries a statement out, when it has found each name.

PostgreSQL's documentation, "PostgreSQL Error Codes". Class 42 says that a name does not exist. Others may
come before all names are looked up: while the server waits for a table's lock (55P03, 57014, 40P01), when it
reads a literal (22, and 23514 of a domain), when a schema or a command is not allowed (42501, 25006), in a
transaction that has failed (25P02), or with the connection (08, 57P01).
"""


def recordable_text(statement: str, status: str) -> str:
    """The text under which a statement that ended with `status` may be recorded.

    Where an application writes a value without quotes, the server takes it for a name and does not find it.
    So the text is recorded only where the server has found every name, and `UNREADABLE` otherwise.
    """
    return statement if status in _STATUSES_AFTER_NAME_LOOKUP else UNREADABLE.text
