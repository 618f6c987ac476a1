"""A day of the query log as columns, and what it must answer.

Columns rather than objects: ten million rows are read in seconds, and in the memory of some numbers each.
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
"""Size of a result that was not measured."""

HOT: Final = 1
WRITE: Final = 2
VOLATILE: Final = 4
IN_TRANSACTION: Final = 8
FAILED: Final = 16


@dataclass(frozen=True, slots=True)
class Executions:
    """Rows of `query_logs`, a column each, all of one length."""

    key: Keys
    """The first 64 bits of the execution key: at ten million keys two are the same once in 370,000 days."""
    at: Ints
    """Unix time, microseconds."""
    template: Ints
    """Place in the day's templates."""
    n: Ints
    """Executions that the row stands for."""
    rate: Floats
    """Probability with which its key was kept."""
    duration_us: Floats
    """The mean."""
    result_bytes: Ints
    """Or UNKNOWN."""
    flags: Ints
    """HOT, WRITE and so on, added up."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.key)

    @classmethod
    def together(cls, pieces: Sequence[Executions]) -> Executions:
        """One after the other."""
        return cls(*(np.concatenate([getattr(each, name) for each in pieces]) for name in cls.__slots__))

    def where(self, chosen: Bools | Ints) -> Executions:
        """Those rows."""
        return Executions(*(getattr(self, name)[chosen] for name in self.__slots__))


def begins(*columns: NDArray[Any]) -> Bools:
    """Where another value stands than in the row before, in any of the columns; these are not empty."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    new[1:] = False
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


class Seconds(NamedTuple):
    """When the executions of hot rows were: how many in which second."""

    row: Ints
    """Place of the row."""
    second: Ints
    """Unix time."""
    n: Ints


class HotExecutions(NamedTuple):
    """Rows of keys that were hot at some time of the day, and their seconds."""

    rows: Executions
    seconds: Seconds

    def where(self, chosen: Bools) -> HotExecutions:
        """Those rows, and their seconds."""
        place: Ints = np.cumsum(chosen) - 1
        row, second, n = self.seconds
        kept = chosen[row]
        return HotExecutions(self.rows.where(chosen), Seconds(place[row[kept]], second[kept], n[kept]))


class Template(NamedTuple):
    """What code ran, in one database."""

    hash: int
    """As in `query_templates`."""
    database: str
    text: str
    """Empty where it has been forgotten."""
    operation: str
    tables: tuple[str, ...]
    mean_result_bytes: float
    """Over executions whose result was measured, each weighted by how unlikely that was; 0 if none was."""


class Count(NamedTuple):
    """Executions of a template, sampled or not."""

    n: int
    failed: int
    dropped: int


class Writes(NamedTuple):
    """Writes to one table, by minute."""

    minute: Ints
    """Unix time at which it began, rising."""
    n: Ints
    """Statements."""


class QueryDay(Protocol):
    """The day to analyse; whatever it raises goes to whoever asked for the analysis."""

    @property
    def period(self) -> Period:
        """From its midnight to the next, which need not be 24 hours."""

    @property
    def templates(self) -> Sequence[Template]:
        """All that rows and counts name."""

    @property
    def counts(self) -> Mapping[int, Count]:
        """By place of the template; none for one that only rows tell of."""

    @property
    def writes(self) -> Mapping[tuple[str, str], Writes]:
        """By database and table, as `Template.tables` names it."""

    @property
    def lowest_rate(self) -> float:
        """The smallest share of the cold keys that was kept at any time; 1 where there are none."""

    def hot(self, take: Callable[[HotExecutions], None]) -> None:
        """Hand on all rows of keys that were ever hot, by time, in pieces."""

    def cold(self, take: Callable[[Executions], None]) -> None:
        """Hand on all other rows, by key and then by time, in pieces; the rows of a key are in one piece."""
