"""How many writes to the tables of a template there were before a given time.

The log has writes by table and minute. Their second within the minute is drawn at random, once, from a fixed
seed. Evenly spread writes would interfere with traffic that comes at regular seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import MICROSECONDS, Bools, Ints, Template, Writes

_MAX_CELLS: Final = 16_000_000
"""64 MB."""
_MINUTE: Final = 60
_SEED: Final = 3


class WrittenTables:
    """Writes before each time, for every set of written tables that some template reads.

    Args:
        templates: the templates of the day.
        writes: by database and table.
        start: Unix time at which the day begins, seconds.
        seconds: length of the day.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        writes: Mapping[tuple[str, str], Writes],
        start: int,
        seconds: int,
    ) -> None:
        sets: dict[tuple[tuple[str, str], ...], int] = {(): 0}
        self._set = np.array(
            [sets.setdefault(_written(template, writes), len(sets)) for template in templates], dtype=np.int64
        )
        self._start_us = start * MICROSECONDS
        self._bin = max(1, -(-(seconds + _MINUTE) * len(sets) // _MAX_CELLS))
        bins = seconds // self._bin + 2
        self._before = np.zeros((len(sets), bins + 1), dtype=np.uint32)
        draw = np.random.default_rng(_SEED)
        for table, found in sorted(writes.items()):
            readers = [place for tables, place in sets.items() if table in tables]
            counted = np.bincount(np.arange(seconds) // self._bin, _spread(found, start, seconds, draw), bins)
            self._before[readers, 1:] += np.cumsum(counted).astype(np.uint32)

    @property
    def is_written(self) -> Bools:
        """By place of the template: whether any of its tables was written on the day."""
        return np.asarray(self._before[self._set, -1] > 0)

    def total(self) -> Ints:
        """By place of the template: writes to its tables on the whole day."""
        return np.asarray(self._before[self._set, -1], dtype=np.int64)

    def before(self, template: Ints, at: Ints) -> Ints:
        """Writes to the tables of each of `template` before each of `at` (Unix time, microseconds)."""
        place = (at - self._start_us) // (MICROSECONDS * self._bin)
        return self._before[self._set[template], place].astype(np.int64)

    def in_second(self, template: Ints, second: Ints) -> tuple[Ints, Ints]:
        """Writes to the tables of each of `template`: before each second of the day, and within it."""
        sets, place = self._set[template], second // self._bin
        before = self._before[sets, place].astype(np.int64)
        until = self._before[sets, place + 1].astype(np.int64)
        return np.where(second % self._bin, until, before), np.where(second % self._bin, 0, until - before)


def _written(template: Template, writes: Mapping[tuple[str, str], Writes]) -> tuple[tuple[str, str], ...]:
    """The written tables among those that the template reads.

    A name without a schema may mean a table of any schema; a write too many does less harm than one too few.
    """
    return tuple(
        sorted(
            (database, written)
            for database, written in writes
            if database == template.database and any(_may_be(read, written) for read in template.tables)
        )
    )


def _may_be(one: str, other: str) -> bool:
    if one == other:
        return True
    return ("." in one) != ("." in other) and one.rpartition(".")[2] == other.rpartition(".")[2]


def _spread(writes: Writes, start: int, seconds: int, draw: np.random.Generator) -> Ints:
    """Writes in each second of the day; takes the same memory for any number of writes."""
    drawn = draw.multinomial(writes.n, np.full(_MINUTE, 1.0 / _MINUTE))
    second = (writes.minute - start)[:, None] + np.arange(_MINUTE)
    within = (second >= 0) & (second < seconds)
    return np.bincount(second[within], drawn[within], seconds).astype(np.int64)
