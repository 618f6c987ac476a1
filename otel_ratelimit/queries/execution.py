"""One execution of a query, as whoever captured it tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from otel_ratelimit.queries.records import REFUSED

OK: Final = "ok"


class Asker(Protocol):
    """Who asks."""

    @property
    def context(self) -> bytes:
        """Equal where equal texts have equal answers: server, database, role, settings."""

    @property
    def database(self) -> str:
        """Name of the database."""


class Asked(NamedTuple):
    """An `Asker` that stays as it is."""

    context: bytes
    database: str


Answer = tuple[int | None, int | None]
"""Rows returned or touched, and bytes of the result; None where unknown."""
AnswerOf = Callable[[Any, bool], Answer]
"""Asked with a result, and whether its bytes are wanted."""


_UNDERSTOOD: Final = frozenset({OK, "21000", "23503", "23505", "23P01", "40001"})
"""SQLSTATEs that only come when the server knows what each name stands for: from carrying a statement out.

PostgreSQL's documentation, "PostgreSQL Error Codes". Class 42 says that a name is not known. Others may come
before all names are looked up: while a table's lock is waited for (55P03, 57014, 40P01), when a literal is
read (22, and 23514 of a domain), when a schema or a command is not allowed (42501, 25006), in a transaction
that has failed (25P02), or with the connection (08, 57P01).
"""


def text_told(statement: str, status: str, *, is_known: bool = False) -> str:
    """The text to tell of a statement with, which ended with `status`.

    Where a value was written without quotes, the server takes it for a name, and does not find it. So the
    text is told only where each name was found, now or before (`is_known`).
    """
    return statement if is_known or status in _UNDERSTOOD else REFUSED.text


class QueryObserver(Protocol):
    """Who is told of executions, on the thread that ran them."""

    def executed(  # noqa: PLR0913, PLR0917 - making one value of them takes as long as half of the rest
        self,
        statement: str,
        sent: bytes,
        asker: Asker,
        nanoseconds: int,
        in_txn: bool,
        answer_of: AnswerOf,
        result: Any,
        status: str = OK,
        started: float | None = None,
    ) -> None:
        """One more, which has just ended. Must be quick.

        Args:
            statement: as the application wrote it, placeholders and all: what code ran.
            sent: as the server received it, without comments: what was asked, parameters included.
            asker: looked at now.
            nanoseconds: how long it took.
            in_txn: whether the transaction it stands in colours its result.
            answer_of: asked with `result` where the execution is kept, and at once; the bytes cost the most.
            result: held by whoever ran the query.
            status: `OK`, or the SQLSTATE of the error.
            started: Unix time, seconds; None where it has just ended.
        """
