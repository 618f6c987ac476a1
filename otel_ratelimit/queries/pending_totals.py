"""Totals on their way to the database: what waits to be written, and how often each table was written."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from otel_ratelimit.queries.execution_totals import OTHER
from otel_ratelimit.queries.records import TableWrite, TemplateTotal

_MAX_TEMPLATES: Final = 20_000
"""Different minutes, templates and databases that wait to be written; beyond, minutes are merged."""
_Place = tuple[int, int, str]
"""Minute, hash of the template, and database."""


class PendingTotals:
    """Totals that wait to be written; those of the same minute, template and database are one."""

    def __init__(self) -> None:
        self._totals: dict[_Place, TemplateTotal] = {}

    def add(self, totals: Iterable[TemplateTotal]) -> None:
        """Add to what waits."""
        for total in totals:
            place, new = self._place_for(total)
            old = self._totals.get(place)
            self._totals[place] = new if old is None else _sum(old, new)

    def __len__(self) -> int:
        return len(self._totals)

    def take(self, most: int) -> tuple[TemplateTotal, ...]:
        """Take `most` of them, the oldest first."""
        places = list(islice(self._totals, most))
        return tuple(self._totals.pop(place) for place in places)

    def _place_for(self, new: TemplateTotal) -> tuple[_Place, TemplateTotal]:
        """Its own place. Without room, the same template in another minute, or else `OTHER`."""
        place = (new.minute, new.template.hash, new.database)
        if place in self._totals or len(self._totals) < _MAX_TEMPLATES:
            return place, new
        for old in self._totals.values():
            if (old.template.hash, old.database) == (new.template.hash, new.database):
                return (old.minute, old.template.hash, old.database), new
        minute = next(iter(self._totals))[0]
        other = TemplateTotal(minute, OTHER, "", new.n, new.failed, new.dropped)
        return (minute, OTHER.hash, ""), other


def _sum(old: TemplateTotal, new: TemplateTotal) -> TemplateTotal:
    return TemplateTotal(
        old.minute,
        old.template,
        old.database,
        old.n + new.n,
        old.failed + new.failed,
        old.dropped + new.dropped,
    )


def table_writes(totals: Iterable[TemplateTotal]) -> tuple[TableWrite, ...]:
    """How often each table was written, by statements that did not fail."""
    found: dict[tuple[int, str, str, str], int] = {}
    for total in totals:
        if not total.template.is_write:
            continue
        for table, operation in total.template.written:
            place = (total.minute, total.database, table, operation)
            found[place] = found.get(place, 0) + total.n - total.failed
    return tuple(TableWrite(*place, n) for place, n in found.items() if n > 0)
