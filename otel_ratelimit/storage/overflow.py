"""Overflow buckets: in a full store, the clients of a network share one counter for each limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_ratelimit.storage.counter_keys import KIND_SHIFT
from otel_ratelimit.storage.memory_budget import MemoryBudget
from otel_ratelimit.storage.strategies import SLIDING_WINDOW_COUNTER, StrategyRules, Value

_BUCKETS_AT_ONCE: Final = 256
_SPARSE_BYTES: Final = 1024


class OverflowBuckets:
    """The overflow buckets of one table: one for each network (and limit), shared by its clients.

    When there is no room for another bucket either, networks share buckets, which their number chooses. The
    last bucket always has room: the table's own size includes it. The bucket of a moving window counts as a
    sliding-window counter does, because a list of times would have no bound here.
    """

    __slots__ = ("_unswept", "add", "budget", "bytes_each", "cells", "elastic", "rules", "state", "wait")

    SHARED: Final = 61
    """How many buckets are shared by the networks of one kind of client that have no bucket of their own."""
    LAST: Final = ""
    """The bucket for keys that fit into no other."""

    def __init__(self, rules: StrategyRules, budget: MemoryBudget, bytes_each: int) -> None:
        if rules.elastic:
            rules = SLIDING_WINDOW_COUNTER
        self.rules = rules
        self.wait, self.add, self.state, self.elastic = rules.wait, rules.add, rules.state, False
        self.budget = budget
        self.bytes_each = bytes_each
        self.cells: dict[int | str, Value] = {}
        self._unswept: list[int | str] = []

    def bucket(self, network: int, limit: str) -> int | str:
        """The bucket for a client of `network`; `limit` is needed where a table counts several limits."""
        own = f"{limit}|{network:x}" if limit else network
        if own in self.cells:
            return own
        share = self.budget.overflow_share
        room = share - self.budget.overflow - self.bytes_each
        if room > share // 4:
            return own
        number = (network >> KIND_SHIFT) * self.SHARED + network % self.SHARED
        shared = f"{limit}|{number:x}" if limit else number
        return shared if shared in self.cells or room >= 0 else self.LAST

    def put(self, bucket: int | str, value: Value, _client: str = "") -> None:
        """Set the value of `bucket`, which may be new."""
        if bucket not in self.cells:
            self.budget.add_overflow(self._bytes(bucket))
        self.cells[bucket] = value

    def sweep(self, seconds: int, now: float, overdue: Callable[[], bool]) -> bool:
        """Close expired buckets; True when all are done, False when `overdue` came first."""
        if not self._unswept:
            self._unswept = list(self.cells)
        while self._unswept:
            some = self._unswept[-_BUCKETS_AT_ONCE:]
            del self._unswept[-_BUCKETS_AT_ONCE:]
            values = {bucket: self.cells[bucket] for bucket in some}
            for bucket in self.rules.unfit(values, seconds, now):
                if self.rules.expiry(values[bucket], seconds) <= now:
                    del self.cells[bucket]
                    self.budget.add_overflow(-self._bytes(bucket))
                else:
                    self.cells[bucket] = self.rules.settled(values[bucket], seconds, now)
            if overdue():
                break
        if not self._unswept and self.cells.__sizeof__() > _SPARSE_BYTES + self.weigh():
            self.cells = dict(self.cells)
        return not self._unswept

    def weigh(self) -> int:
        """The bytes that the buckets take; the last bucket is part of the table's own size."""
        return self.bytes_each * (len(self.cells) - (self.LAST in self.cells))

    def _bytes(self, bucket: int | str) -> int:
        return 0 if bucket == self.LAST else self.bytes_each
