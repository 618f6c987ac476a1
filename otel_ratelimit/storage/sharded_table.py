"""The counters of one limit: a hash table that grows in small steps.

A single big dict stops every request for tens of milliseconds whenever it doubles. Here a directory points to
shards of at most `MAX_SHARD_KEYS` entries. A shard with more entries is split in two (`_split`), and nothing
else moves. That is extendible hashing (Fagin, Nievergelt, Pippenger, Strong, "Extendible hashing:
a fast access method for dynamic files", ACM TODS 4(3), 1979). A split takes about 0.1 ms.

Keys are integers or strings (`counter_keys`), values are small immutable objects (`strategies`). Shards are
plain dicts. The garbage collector never visits them, because they hold nothing but such objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from otel_ratelimit.core.identity import ClientKey
from otel_ratelimit.storage.counter_keys import KIND_SHIFT, KeyForm
from otel_ratelimit.storage.memory_budget import (
    ENTRY_BYTES,
    INTEGER_BYTES,
    MAX_KEY_BYTES,
    SHARD_BYTES,
    TABLE_BYTES,
    MemoryBudget,
)
from otel_ratelimit.storage.overflow import OverflowBuckets
from otel_ratelimit.storage.sender_networks import SenderNetworks
from otel_ratelimit.storage.strategies import StrategyRules, Value

MAX_SHARD_KEYS: Final = 320
"""A shard with more keys is split; both halves then fit a dict of 256 slots (170 entries)."""
_SPARSE_BYTES_PER_KEY: Final = 160
"""A shard whose dict takes more than this per key is copied into a smaller dict."""
_DENSE_ENOUGH_BYTES: Final = 1024
_FIRST_GROWTH: Final = 1024


class Accounts(NamedTuple):
    """Sums over all tables, which each table keeps up to date."""

    budget: MemoryBudget
    kinds: list[int]
    """How many keys there are of each kind of client."""


class SweepResult(NamedTuple):
    """The result of one step of the sweep in a shard."""

    removed: int
    done: bool
    """False if there may be more to remove."""


class ShardedTable:
    """Counters of one prefix, under one strategy. The store's lock must be held for every method."""

    __slots__ = (
        "_extra",
        "add",
        "budget",
        "depth",
        "depths",
        "elastic",
        "fixed_size",
        "form",
        "growth",
        "keys",
        "kinds",
        "mask",
        "name",
        "network",
        "overflow",
        "rules",
        "seconds",
        "senders",
        "shards",
        "state",
        "wait",
    )

    def __init__(
        self, name: str, rules: StrategyRules, form: KeyForm, seconds: int, accounts: Accounts
    ) -> None:
        self.name = name
        self.rules = rules
        self.form = form
        self.network = form.network
        self.fixed_size = form.size(0) + rules.size(0) if form.fixed_size and not rules.elastic else 0
        """Bytes that each counter takes, if all counters take the same; otherwise 0."""
        # Attributes of the table itself, because every request calls them.
        self.wait, self.add, self.state, self.elastic = rules.wait, rules.add, rules.state, rules.elastic
        self.seconds = seconds
        """Length of the longest window counted here; all windows of one prefix have the same length."""
        self.budget = accounts.budget
        self.kinds = accounts.kinds
        self.keys = 0
        self.senders = SenderNetworks(self.budget)
        self._extra = 0
        self.overflow = OverflowBuckets(rules, self.budget, form.overflow_bytes)
        self._begin()
        self.budget.add_tables(1)

    def _begin(self) -> None:
        self.depth = 0
        self.mask = 0
        self.shards: dict[int, dict[Any, Value]] = {0: {}}
        self.depths: dict[int, int] = {0: 0}
        """Each shard once: the lowest index that leads to it, and how many bits of it are significant."""
        self.growth = _FIRST_GROWTH + self._extra
        """The most bytes that one new key can add, not counting the list of a moving window."""

    @property
    def endpoint(self) -> str:
        """The name of what the table counts, for display: the scope of its prefix, up to the first `:`."""
        parts = self.name.split("|")
        scope = parts[1] if len(parts) > 1 else self.name
        return unquote(scope.partition(":")[0]) or unquote(scope)

    def get(self, key: Any) -> Value | None:
        """The value of `key`, expired or not."""
        return self.shards[self.form.shard_index(key, self.mask)].get(key)

    def network_of(self, key: Any) -> int:
        """The network that holds the counter of `key`."""
        return self.senders.get(key) or self.network(key) if self.senders.shards else self.network(key)

    def put(self, key: Any, value: Value, client: str = "") -> None:
        """Set the value of `key`, which may be new; `client` is the text that it was made of."""
        shard = self.shards[self.form.shard_index(key, self.mask)]
        if key in shard:
            self._replace(shard, key, value)
            return
        before = shard.__sizeof__()
        shard[key] = value
        after = shard.__sizeof__()
        budget, network = self.budget, self.network(key)
        size = self.fixed_size or self.form.size(key) + self.rules.size(value)
        if type(client) is ClientKey:
            network = client.network
            self._note(key, network)
        budget.used += size + after - before
        budget.networks[network % budget.network_slots] += size + ENTRY_BYTES
        self.keys += 1
        self.kinds[network >> KIND_SHIFT] += 1
        if after > before:
            self._expect_growth(after)
        if len(shard) > MAX_SHARD_KEYS:
            self._split(key)

    def _note(self, key: int, sender: int) -> None:
        extra = self.senders.put(key, sender)
        if extra > self._extra:
            self.growth += extra - self._extra
            self._extra = extra

    def _replace(self, shard: dict[Any, Value], key: Any, value: Value) -> None:
        if self.elastic:
            budget = self.budget
            grown = self.rules.size(value) - self.rules.size(shard[key])
            if grown:
                budget.used += grown
                budget.networks[self.network_of(key) % budget.network_slots] += grown
        shard[key] = value

    def remove(self, key: Any) -> bool:
        """Remove `key`; False if it was not there."""
        return self._remove(self.shards[self.form.shard_index(key, self.mask)], key)

    def _remove(self, shard: dict[Any, Value], key: Any) -> bool:
        value = shard.pop(key, None)
        if value is None:
            return False
        budget, network = self.budget, self.network(key)
        size = self.fixed_size or self.form.size(key) + self.rules.size(value)
        if self.senders.shards:
            network = self.senders.pop(key) or network
        budget.used -= size
        budget.networks[network % budget.network_slots] -= size + ENTRY_BYTES
        self.keys -= 1
        self.kinds[network >> KIND_SHIFT] -= 1
        return True

    def sweep(self, index: int, now: float, overdue: Callable[[], bool] | None = None) -> SweepResult:
        """Remove the expired counters of one shard, until done or `overdue`, which is called after each key.

        One key may take far longer than the others: the last object of an arena returns it to the system.
        """
        shard = self.shards.get(index)
        if not shard:
            return SweepResult(0, done=True)
        removed = 0
        for key in self.rules.unfit(shard, self.seconds, now):
            value = shard[key]
            if self.rules.expiry(value, self.seconds) <= now:
                removed += self._remove(shard, key)
                if overdue is not None and overdue():
                    return SweepResult(removed, done=False)
            else:
                self._replace(shard, key, self.rules.settled(value, self.seconds, now))
        self._pack(shard)
        return SweepResult(removed, done=True)

    def shrink(self) -> None:
        """Free the directory of a table that has become empty."""
        if not self.keys and len(self.depths) > 1:
            self.budget.used -= self._frame_bytes()
            self._begin()

    @property
    def unused(self) -> bool:
        """Whether nothing is counted here."""
        return not self.keys and not self.overflow.cells

    def close(self) -> None:
        """Subtract the table, which must be unused, from the budget."""
        self.shrink()
        self.budget.used -= self._frame_bytes()
        self.budget.add_tables(-1)

    def _pack(self, shard: dict[Any, Value]) -> None:
        before = shard.__sizeof__()
        if before <= max(_DENSE_ENOUGH_BYTES, _SPARSE_BYTES_PER_KEY * len(shard)):
            return
        rest = dict(shard)
        shard.clear()
        shard.update(rest)
        self.budget.used += shard.__sizeof__() - before

    def _split(self, key: Any) -> None:
        index = self.form.shard_index(key, self.mask)
        while index not in self.depths:  # drop high bits until it is the shard's own index
            index &= ~(1 << (index.bit_length() - 1))
        depth = self.depths[index]
        if depth == self.depth and not self._deepen():
            return
        before = self._directory_bytes() + self.shards[index].__sizeof__()
        masks, shard_index = self.form.masks, self.form.shard_index
        bit = masks[depth + 1] & ~masks[depth]
        full = self.shards[index]
        low = {k: v for k, v in full.items() if not shard_index(k, bit)}
        high = {k: v for k, v in full.items() if shard_index(k, bit)}
        self.depths[index] = self.depths[index | bit] = depth + 1
        free = rest = self.mask & ~masks[depth]
        while True:  # all indexes that led to the full shard
            self.shards[index | rest] = high if rest & bit else low
            if not rest:
                break
            rest = (rest - 1) & free
        after = self._directory_bytes() + low.__sizeof__() + high.__sizeof__() + SHARD_BYTES
        self.budget.used += after - before
        self._expect_growth(max(low.__sizeof__(), high.__sizeof__()))

    def _deepen(self) -> bool:
        """Double the directory, unless the keys are so unevenly spread that this would not help."""
        if self.depth + 1 == len(self.form.masks) or 1 << self.depth > 8 + 4 * self.keys // MAX_SHARD_KEYS:
            return False
        before = self._directory_bytes()
        self.depth += 1
        bit = self.form.masks[self.depth] & ~self.mask
        self.shards |= {index | bit: shard for index, shard in self.shards.items()}
        self.mask = self.form.masks[self.depth]
        self.budget.used += self._directory_bytes() - before
        return True

    def _expect_growth(self, shard_bytes: int) -> None:
        # A full dict doubles its size. A split makes two dicts of one, and may double the directory.
        self.growth = max(
            self.growth, 2 * shard_bytes + 2 * self._directory_bytes() + MAX_KEY_BYTES + self._extra
        )

    def _directory_bytes(self) -> int:
        entries = len(self.shards) + len(self.depths)
        return self.shards.__sizeof__() + self.depths.__sizeof__() + entries * INTEGER_BYTES

    def _frame_bytes(self) -> int:
        """Bytes of directory and shards beyond `TABLE_BYTES`, without keys and values."""
        shards = sum(self.shards[index].__sizeof__() + SHARD_BYTES for index in self.depths)
        return self._directory_bytes() + shards - _EMPTY_FRAME_BYTES

    def weigh(self) -> int:
        """The bytes that the table takes, measured again; equal to what it has added to the budget."""
        items = (item for index in self.depths for item in self.shards[index].items())
        entries = sum(self.form.size(key) + self.rules.size(value) for key, value in items)
        return TABLE_BYTES + self._frame_bytes() + entries + self.overflow.weigh() + self.senders.weigh()


_EMPTY_FRAME_BYTES: Final = 2 * ({0: 0}.__sizeof__() + INTEGER_BYTES) + {}.__sizeof__() + SHARD_BYTES
