"""Which executions a cache could have answered, and why it could not answer the others."""

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
from otel_ratelimit.core.names import UNREADABLE_TEMPLATE

READS: Final = frozenset({"select", "values", "table"})
"""Operations whose answer a cache can give."""
_CATALOGUES: Final = ("pg_catalog.", "information_schema.", "pg_")


class Reason(IntEnum):
    """Why a cache cannot answer; the first reason that applies."""

    CACHEABLE = 0
    WRITES = 1
    """It changes data, or locks rows (FOR UPDATE)."""
    NO_READ = 2
    """It neither reads nor writes: BEGIN, SET, COPY and the like; or the log had no room for its text."""
    VOLATILE = 3
    """It calls now(), random() or the like."""
    CATALOGUE = 4
    """It asks PostgreSQL about itself."""
    NO_TABLE = 5
    """It reads no table by name (SELECT 1, SELECT f(...)), so it is not known when its answer changes."""
    FAILED = 6
    IN_TRANSACTION = 7
    """Its transaction had written before, or saw an older state; its answer is not valid for others."""


def reasons(rows: Executions, templates: Ints) -> Ints:
    """The reason of each row.

    Args:
        rows: rows of any templates.
        templates: the reason of each template, from `of_template`.
    """
    found = templates[rows.template]
    flags = rows.flags
    for flag, reason in (
        (IN_TRANSACTION, Reason.IN_TRANSACTION),
        (FAILED, Reason.FAILED),
        (VOLATILE, Reason.VOLATILE),
        (WRITE, Reason.WRITES),
    ):
        # The template's own reason stays, except that "it writes" says more than "it is no read".
        applies = ((flags & flag) != 0) & ((found == 0) | (reason < found))
        found = np.where(applies, int(reason), found)
    return found


def of_template(template: Template) -> Reason:
    """The reason that follows from the template's text alone."""
    if template.text == UNREADABLE_TEMPLATE:
        return Reason.FAILED
    if template.operation not in READS:
        return Reason.NO_READ
    if not template.tables:
        return Reason.NO_TABLE
    if any(table.startswith(_CATALOGUES) for table in template.tables):
        return Reason.CATALOGUE
    return Reason.CACHEABLE


class CacheableCounts:
    """Executions by template and reason, counted from the rows."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self.of_templates: Ints = np.array([of_template(each) for each in templates], dtype=np.int64)
        self._sums = np.zeros(len(templates) * len(Reason))
        self._took_us = np.zeros(len(templates) * len(Reason))

    def add(self, rows: Executions) -> Ints:
        """Count rows, and return the reason of each."""
        found = reasons(rows, self.of_templates)
        place = rows.template * len(Reason) + found
        stands_for = rows.n / rows.rate
        self._sums += np.bincount(place, stands_for, len(self._sums))
        self._took_us += np.bincount(place, stands_for * rows.duration_us, len(self._sums))
        return found

    def took_us(self, by_reason: Floats) -> float:
        """Time that all executions took, from their numbers by template and reason."""
        means = self._took_us / np.maximum(self._sums, 1e-9)
        return float((means * by_reason.reshape(-1)).sum())

    def calibrated(self, counts: Mapping[int, Count]) -> Floats:
        """Executions by template and reason, scaled to the counted executions of each template."""
        by_reason = self._sums.reshape(-1, len(Reason))
        seen = by_reason.sum(axis=1)
        counted = np.array([counts[at].n if at in counts else seen[at] for at in range(len(seen))])
        # A template that was counted and has no row: only its text says what it is.
        unseen = np.zeros_like(by_reason)
        unseen[np.arange(len(seen)), self.of_templates] = counted
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = by_reason * (counted / seen)[:, None]
        return np.where((seen > 0.0)[:, None], scaled, unseen)
