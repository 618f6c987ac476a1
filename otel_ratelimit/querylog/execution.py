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


_NOT_UNDERSTOOD: Final = "42"
"""Class of SQLSTATE: syntax error or access rule violation."""
_NO_RIGHT: Final = "42501"


def text_told(statement: str, status: str) -> str:
    """The text to tell of a statement with, which ended with `status`."""
    is_understood = status[:2] != _NOT_UNDERSTOOD or status == _NO_RIGHT
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
