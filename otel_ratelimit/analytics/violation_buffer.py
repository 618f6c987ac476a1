"""Refusals that wait to be written; equal ones share a row, so an attack fills neither memory nor table.

Refusals are equal if they have the same minute, endpoint, method, client, user, tier and limit. The first one
is returned as soon as a batch is full; those that follow in the same minute are summed up, and returned at
the end of the flush interval. So a client that is refused ten thousand times a second makes two rows a
minute.

The number of rows is bounded. With more than `max_distinct` rows, clients are summed up as `<other>`; with
more than `max_rows`, minutes are summed up as well; and `max_limits` rows later endpoints and limits are,
too, since an application can pass a path instead of a route. All sums stay exact.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from otel_ratelimit.analytics.records import OTHER_LIMITS, Violation
from otel_ratelimit.core.names import OTHER_CLIENTS

MAX_DISTINCT: Final = 5_000
"""Rows of a flush interval in which clients are kept apart; about 3 MB."""
MAX_ROWS: Final = 2 * MAX_DISTINCT
MAX_LIMITS: Final = 1_000
"""Endpoints and limits that are kept apart beyond `MAX_ROWS`."""
USER_AGENT_CHARACTERS: Final = 256

_Key = tuple[int, str, str, str, str | None, str, str, bool]


class _Sum:
    """Equal violations: the first one, and the sum."""

    __slots__ = ("current_count", "first", "last_at", "n")

    def __init__(self, first: Violation) -> None:
        self.first = first
        self.n = 0
        self.last_at = first.occurred_at
        self.current_count = 0


class ViolationBuffer:
    """Sums up violations; any thread may add.

    Args:
        batch_size: number of new rows that make a batch.
        max_distinct: with more rows, clients are summed up as `<other>`.
        max_rows: with more rows, minutes are summed up as well.
        max_limits: with this many rows more, endpoints and limits are summed up, too.
    """

    def __init__(
        self,
        batch_size: int,
        max_distinct: int = MAX_DISTINCT,
        max_rows: int = MAX_ROWS,
        max_limits: int = MAX_LIMITS,
    ) -> None:
        self._batch_size = batch_size
        self._max_distinct = max_distinct
        self._max_rows = max_rows
        self._max_keys = max_rows + max_limits
        self._lock = threading.Lock()
        self._sums: dict[_Key, _Sum] = {}
        self._new: list[_Sum] = []
        self._latest_minute = 0
        self._pending = 0

    @property
    def pending(self) -> int:
        """Violations (not rows) that wait."""
        return self._pending

    @property
    def rows(self) -> int:
        """Rows that wait; from `max_distinct` rows on, clients are summed up as `<other>`."""
        return len(self._sums)

    def add(self, violation: Violation) -> bool:
        """Add `violation`; True if a batch is full."""
        v = violation
        minute = int(v.occurred_at) // 60
        with self._lock:
            key = (minute, v.endpoint, v.method, v.client, v.user_id, v.tier, v.limit_text, v.shadow)
            found = self._sums.get(key)
            if found is None:
                found = self._open(key, v)
            found.n += v.n
            found.last_at = max(found.last_at, v.last_at)
            found.current_count = max(found.current_count, v.current_count)
            self._pending += v.n
            return len(self._new) >= self._batch_size

    def take(self, *, everything: bool) -> tuple[Violation, ...]:
        """Remove and return the new rows or, at the end of the flush interval, all rows."""
        with self._lock:
            sums = [s for s in self._sums.values() if s.n] if everything else self._new
            taken = tuple(_handed_out(s) for s in sums)
            self._new = []
            if everything:
                self._sums = {}
            self._pending -= sum(v.n for v in taken)
            return taken

    def clear(self) -> None:
        """Remove all rows; in a forked child, because the parent writes them."""
        self._lock = threading.Lock()
        self._sums, self._new, self._pending = {}, [], 0

    def _open(self, key: _Key, violation: Violation) -> _Sum:
        minute, endpoint, method, _client, _user, tier, limit_text, shadow = key
        if len(self._sums) >= self._max_distinct:
            if len(self._sums) < self._max_rows:
                self._latest_minute = max(self._latest_minute, minute)
            key = (self._latest_minute, endpoint, method, OTHER_CLIENTS, None, tier, limit_text, shadow)
            violation = replace(violation, client=OTHER_CLIENTS, user_id=None, user_agent=None)
            found = self._sums.get(key)
            if found is None and len(self._sums) >= self._max_keys:
                other = OTHER_LIMITS
                key = (self._latest_minute, other, other, OTHER_CLIENTS, None, other, other, shadow)
                violation = _of_other_limits(violation)
                found = self._sums.get(key)
            if found is not None:
                return found
        else:
            self._latest_minute = max(self._latest_minute, minute)
        opened = self._sums[key] = _Sum(violation)
        self._new.append(opened)
        return opened


def _of_other_limits(violation: Violation) -> Violation:
    return replace(
        violation,
        endpoint=OTHER_LIMITS,
        method=OTHER_LIMITS,
        tier=OTHER_LIMITS,
        limit_text=OTHER_LIMITS,
        limit_value=0,
        limit_seconds=0,
        trace_id=None,
    )


def _handed_out(summed: _Sum) -> Violation:
    handed = replace(summed.first, last_at=summed.last_at, current_count=summed.current_count, n=summed.n)
    # Later violations of the same minute begin where this row ends.
    summed.first = replace(summed.first, occurred_at=summed.last_at)
    summed.n = 0
    return handed
