"""Where keys are counted that found no room: in buckets that the clients of a network share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_ratelimit.storage.counter_keys import KIND_SHIFT
from otel_ratelimit.storage.memory_budget import Ledger
from otel_ratelimit.storage.strategies import SLIDING_WINDOW_COUNTER, Rules, Value

_BUCKETS_AT_ONCE: Final = 256
_SPARSE_BYTES: Final = 1024


class Overflow:
    """Where keys are counted that found no room: a bucket per network (and limit), shared by its clients.

    When room for buckets runs out as well, networks share some, chosen by their number; the last bucket
    is in the table's own room. A moving window's bucket counts as a sliding-window counter does: a
    list has no bound here.
    """

    __slots__ = ("_unswept", "add", "bytes_each", "cells", "elastic", "ledger", "rules", "state", "wait")

    SHARED: Final = 61
    """So many buckets are shared by the networks of one kind of client that have none of their own."""
    LAST: Final = ""
    """The bucket of those that find no room in a shared one."""

    def __init__(self, rules: Rules, ledger: Ledger, bytes_each: int) -> None:
        if rules.elastic:
            rules = SLIDING_WINDOW_COUNTER
        self.rules = rules
        self.wait, self.add, self.state, self.elastic = rules.wait, rules.add, rules.state, False
        self.ledger = ledger
        self.bytes_each = bytes_each
        self.cells: dict[int | str, Value] = {}
        self._unswept: list[int | str] = []

    def bucket(self, network: int, limit: str) -> int | str:
        """The bucket in which to count a client of `network`, for `limit` if the table has several."""
        own = f"{limit}|{network:x}" if limit else network
        if own in self.cells:
            return own
        share = self.ledger.overflow_share
        room = share - self.ledger.overflow - self.bytes_each
        if room > share // 4:
            return own
        number = (network >> KIND_SHIFT) * self.SHARED + network % self.SHARED
        shared = f"{limit}|{number:x}" if limit else number
        return shared if shared in self.cells or room >= 0 else self.LAST

    def put(self, bucket: int | str, value: Value, _client: str = "") -> None:
        """Set `bucket`, open or not."""
        if bucket not in self.cells:
            self.ledger.spill(self._bytes(bucket))
        self.cells[bucket] = value

    def sweep(self, seconds: int, now: float, overdue: Callable[[], bool]) -> bool:
        """Close buckets that are expired, until done (True) or `overdue`."""
        if not self._unswept:
            self._unswept = list(self.cells)
        while self._unswept:
            some = self._unswept[-_BUCKETS_AT_ONCE:]
            del self._unswept[-_BUCKETS_AT_ONCE:]
            values = {bucket: self.cells[bucket] for bucket in some}
            for bucket in self.rules.unfit(values, seconds, now):
                if self.rules.expiry(values[bucket], seconds) <= now:
                    del self.cells[bucket]
                    self.ledger.spill(-self._bytes(bucket))
                else:
                    self.cells[bucket] = self.rules.settled(values[bucket], seconds, now)
            if overdue():
                break
        if not self._unswept and self.cells.__sizeof__() > _SPARSE_BYTES + self.weigh():
            self.cells = dict(self.cells)
        return not self._unswept

    def weigh(self) -> int:
        """What the buckets take beyond the table's own room."""
        return self.bytes_each * (len(self.cells) - (self.LAST in self.cells))

    def _bytes(self, bucket: int | str) -> int:
        return 0 if bucket == self.LAST else self.bytes_each
