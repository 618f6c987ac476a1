"""One execution of a query, as whoever captured it tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from otel_ratelimit.query_records import REFUSED

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


_UNDERSTOOD_CLASSES: Final = frozenset({"21", "23", "27", "38", "39", "40", "44", "P0"})
_UNDERSTOOD: Final = frozenset({OK, "22001", "22012", "25006", "42501", "53400", "55P03", "57014"})
"""SQLSTATEs, by class or whole, that only come when the server knows what each name stands for.

PostgreSQL's documentation, "PostgreSQL Error Codes". Class 42 says that it does not. Of class 22 most come
when a literal is read, which may be before the next name is looked up. Of a transaction that has failed
already (25P02) and of a connection that is lost (08006) the grammar is all that is known to be right.
"""


def text_told(statement: str, status: str, *, is_known: bool = False) -> str:
    """The text to tell of a statement with, which ended with `status`.

    Where a value was written without quotes, the server takes it for a name, and does not find it. So the
    text is told only where each name was found, now or before (`is_known`).
    """
    is_understood = is_known or status in _UNDERSTOOD or status[:2] in _UNDERSTOOD_CLASSES
    return statement if is_understood else REFUSED.text


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
