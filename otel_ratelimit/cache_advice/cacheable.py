"""Which executions a cache could have answered, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import (
    FAILED,
    IN_TRANSACTION,
    VOLATILE,
    WRITE,
    Count,
    Executions,
    Floats,
    Ints,
    Template,
)

READS: Final = frozenset({"select", "values", "table"})
"""Operations whose answer a cache can give."""
_REFUSED: Final = "<refused>"
"""Template of what the server could make no sense of."""
_CATALOGUES: Final = ("pg_catalog.", "information_schema.", "pg_")


class Reason(IntEnum):
    """Why a cache cannot answer; the first that holds."""

    CACHEABLE = 0
    WRITES = 1
    """It changes data, or locks rows (FOR UPDATE)."""
    NO_READ = 2
    """Neither: BEGIN, SET, COPY and the like, and statements that found no room in the log."""
    VOLATILE = 3
    """It calls now(), random() or the like."""
    CATALOGUE = 4
    """It asks PostgreSQL about itself."""
    NO_TABLE = 5
    """It reads no table by name (SELECT 1, SELECT f(...)): nobody could tell when its answer changes."""
    FAILED = 6
    IN_TRANSACTION = 7
    """Its transaction had written before, or saw an older state: its answer is not for others."""


def reasons(rows: Executions, templates: Ints) -> Ints:
    """The reason of each row.

    Args:
        rows: any.
        templates: `of_template` of each template.
    """
    found = templates[rows.template]
    flags = rows.flags
    for flag, reason in (
        (IN_TRANSACTION, Reason.IN_TRANSACTION),
        (FAILED, Reason.FAILED),
        (VOLATILE, Reason.VOLATILE),
        (WRITE, Reason.WRITES),
    ):
        # What is said first wins: of a template that is no read, only that it writes says more.
        applies = ((flags & flag) != 0) & ((found == 0) | (reason < found))
        found = np.where(applies, int(reason), found)
    return found


def of_template(template: Template) -> Reason:
    """What its text alone says."""
    if template.text == _REFUSED:
        return Reason.FAILED
    if template.operation not in READS:
        return Reason.NO_READ
    if not template.tables:
        return Reason.NO_TABLE
    if any(table.startswith(_CATALOGUES) for table in template.tables):
        return Reason.CATALOGUE
    return Reason.CACHEABLE


class Sorted:
    """Executions by template and reason, as the rows stand for them."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self.of_templates: Ints = np.array([of_template(each) for each in templates], dtype=np.int64)
        self._sums = np.zeros(len(templates) * len(Reason))
        self._took_us = np.zeros(len(templates) * len(Reason))

    def add(self, rows: Executions) -> Ints:
        """Count rows; answers the reason of each."""
        found = reasons(rows, self.of_templates)
        place = rows.template * len(Reason) + found
        stands_for = rows.n / rows.rate
        self._sums += np.bincount(place, stands_for, len(self._sums))
        self._took_us += np.bincount(place, stands_for * rows.duration_us, len(self._sums))
        return found

    def took_us(self, by_reason: Floats) -> float:
        """Time that all executions took, where `by_reason` says how many of which there were."""
        means = self._took_us / np.maximum(self._sums, 1e-9)
        return float((means * by_reason.reshape(-1)).sum())

    def calibrated(self, counts: Mapping[int, Count]) -> Floats:
        """Executions by template and reason, whose sums by template are those that were counted."""
        by_reason = self._sums.reshape(-1, len(Reason))
        seen = by_reason.sum(axis=1)
        counted = np.array([counts[at].n if at in counts else seen[at] for at in range(len(seen))])
        # Counted, and not a row of it: its text has to do.
        unseen = np.zeros_like(by_reason)
        unseen[np.arange(len(seen)), self.of_templates] = counted
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = by_reason * (counted / seen)[:, None]
        return np.where((seen > 0.0)[:, None], scaled, unseen)
