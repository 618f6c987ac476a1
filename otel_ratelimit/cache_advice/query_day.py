"""A day of the query log, in columns: the input of the analysis.

Columns instead of objects: ten million rows are read in seconds, and each takes the memory of a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from otel_ratelimit.core.periods import Period

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Keys = NDArray[np.uint64]

MICROSECONDS: Final = 1_000_000
UNKNOWN: Final = -1
"""The size of a result that was not measured."""

HOT: Final = 1
WRITE: Final = 2
VOLATILE: Final = 4
IN_TRANSACTION: Final = 8
FAILED: Final = 16


@dataclass(frozen=True, slots=True)
class Executions:
    """Rows of `query_logs` in columns of equal length."""

    key: Keys
    """First 64 bits of the execution key; among ten million keys two are equal once in 370,000 days."""
    at: Ints
    """Unix time, microseconds."""
    template: Ints
    """Place among the day's templates."""
    n: Ints
    """Executions that the row stands for."""
    rate: Floats
    """Probability with which its key was kept."""
    duration_us: Floats
    """Mean duration of these executions."""
    result_bytes: Ints
    """`UNKNOWN` where it was not measured."""
    flags: Ints
    """`HOT`, `WRITE` and so on, combined by OR."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.key)

    @classmethod
    def together(cls, pieces: Sequence[Executions]) -> Executions:
        """The rows of all pieces, in this order."""
        return cls(*(np.concatenate([getattr(each, name) for each in pieces]) for name in cls.__slots__))

    def where(self, chosen: Bools | Ints) -> Executions:
        """The chosen rows."""
        return Executions(*(getattr(self, name)[chosen] for name in self.__slots__))


def begins(*columns: NDArray[Any]) -> Bools:
    """Rows whose value differs from that of the row before in any column; columns must not be empty."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    new[1:] = False
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


class Seconds(NamedTuple):
    """Executions of hot rows, by second."""

    row: Ints
    """Place of the row."""
    second: Ints
    """Unix time."""
    n: Ints


class HotExecutions(NamedTuple):
    """Rows of keys that were hot at some time of the day, with their seconds."""

    rows: Executions
    seconds: Seconds

    def where(self, chosen: Bools) -> HotExecutions:
        """The chosen rows, with their seconds."""
        place: Ints = np.cumsum(chosen) - 1
        row, second, n = self.seconds
        kept = chosen[row]
        return HotExecutions(self.rows.where(chosen), Seconds(place[row[kept]], second[kept], n[kept]))


class Template(NamedTuple):
    """A query template in one database."""

    hash: int
    """As in `query_templates`."""
    database: str
    text: str
    """Empty if it is no longer in `query_templates`."""
    operation: str
    tables: tuple[str, ...]
    mean_result_bytes: float
    """Over measured results, each weighted by the inverse of its probability; 0 if none was measured."""


class Count(NamedTuple):
    """All executions of a template, sampled or not."""

    n: int
    failed: int
    dropped: int


class Writes(NamedTuple):
    """Writes to one table, by minute."""

    minute: Ints
    """Unix time at which the minute began, rising."""
    n: Ints
    """Number of statements."""


class QueryDay(Protocol):
    """The day to analyse; the analysis passes on every exception that it raises."""

    @property
    def period(self) -> Period:
        """From midnight to midnight, which can be 23 or 25 hours."""

    @property
    def templates(self) -> Sequence[Template]:
        """All templates that rows and counts refer to."""

    @property
    def counts(self) -> Mapping[int, Count]:
        """By place of the template; a template that only rows refer to has no count."""

    @property
    def writes(self) -> Mapping[tuple[str, str], Writes]:
        """By database and table; tables are named as in `Template.tables`."""

    @property
    def lowest_rate(self) -> float:
        """The smallest share of cold keys that was kept at any time; 1 if there are no cold keys."""

    def hot(self, take: Callable[[HotExecutions], None]) -> None:
        """Call `take` with all rows of keys that were hot at some time, sorted by time, in pieces."""

    def cold(self, take: Callable[[Executions], None]) -> None:
        """Call `take` with all other rows, sorted by key and time, in pieces that do not divide a key."""
