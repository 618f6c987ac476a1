"""Refusals that wait to be written, equal ones as one: an attack fills neither memory nor table.

Equal are those of one minute with the same endpoint, method, client, user, tier and limit. The first is
handed out as soon as a batch is full; what follows in the same minute is summed up and handed out at the
end of the flush interval. So a client that is refused ten thousand times a second makes two rows a
minute.

What is told apart has bounds. Beyond the first, clients are no longer told apart (`<other>`); beyond the
second, minutes are not either; beyond the third, endpoints and limits are not: an application may name a path
where a route is meant. Sums are exact throughout.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from otel_ratelimit.analytics.records import OTHER_LIMITS, Violation
from otel_ratelimit.core.names import OTHER_CLIENTS

MAX_TOLD_APART: Final = 5_000
"""Clients, endpoints and limits of a flush interval; about 3 MB."""
MAX_ROWS: Final = 2 * MAX_TOLD_APART
MAX_LIMITS: Final = 1_000
"""Endpoints and limits that are told apart beyond `MAX_ROWS`."""
USER_AGENT_CHARACTERS: Final = 256

_Key = tuple[int, str, str, str, str | None, str, str, bool]


class _Sum:
    """Equal violations: the first, and what was added."""

    __slots__ = ("current_count", "first", "last_at", "n")

    def __init__(self, first: Violation) -> None:
        self.first = first
        self.n = 0
        self.last_at = first.occurred_at
        self.current_count = 0


class ViolationBuffer:
    """Sums up violations; any thread may add.

    Args:
        batch_size: from how many new rows on `add` says that a batch is full.
        most_told_apart: beyond it clients are summed up as `<other>`.
        most_rows: beyond it minutes are not told apart.
        most_limits: so many rows later endpoints and limits are not either.
    """

    def __init__(
        self,
        batch_size: int,
        most_told_apart: int = MAX_TOLD_APART,
        most_rows: int = MAX_ROWS,
        most_limits: int = MAX_LIMITS,
    ) -> None:
        self._batch_size = batch_size
        self._most_told_apart = most_told_apart
        self._most_rows = most_rows
        self._most_keys = most_rows + most_limits
        self._lock = threading.Lock()
        self._sums: dict[_Key, _Sum] = {}
        self._new: list[_Sum] = []
        self._latest_minute = 0
        self._pending = 0

    @property
    def pending(self) -> int:
        """Violations, not rows, that have not been taken."""
        return self._pending

    @property
    def rows(self) -> int:
        """Rows that these would make, of at most `most_told_apart` that are told apart in full."""
        return len(self._sums)

    def add(self, violation: Violation) -> bool:
        """Take note of `violation`; True when a batch is full."""
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
        """Hand out the new rows or, at the end of the flush interval, all that is there."""
        with self._lock:
            sums = [s for s in self._sums.values() if s.n] if everything else self._new
            taken = tuple(_handed_out(s) for s in sums)
            self._new = []
            if everything:
                self._sums = {}
            self._pending -= sum(v.n for v in taken)
            return taken

    def clear(self) -> None:
        """Forget all of it: in a forked child it is the parent's to write."""
        self._lock = threading.Lock()
        self._sums, self._new, self._pending = {}, [], 0

    def _open(self, key: _Key, violation: Violation) -> _Sum:
        minute, endpoint, method, _client, _user, tier, limit_text, shadow = key
        if len(self._sums) >= self._most_told_apart:
            if len(self._sums) < self._most_rows:
                self._latest_minute = max(self._latest_minute, minute)
            key = (self._latest_minute, endpoint, method, OTHER_CLIENTS, None, tier, limit_text, shadow)
            violation = replace(violation, client=OTHER_CLIENTS, user_id=None, user_agent=None)
            found = self._sums.get(key)
            if found is None and len(self._sums) >= self._most_keys:
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
    # What follows begins where this ends.
    summed.first = replace(summed.first, occurred_at=summed.last_at)
    summed.n = 0
    return handed
