"""The counters of one limit: a hash table that grows in small steps.

A single big dict stops every request for tens of milliseconds whenever it doubles. Here a
directory points to shards of at most `SHARD_KEYS` entries; a shard that is full is split in two, and
nothing else moves. That is extendible hashing (Fagin, Nievergelt, Pippenger, Strong, "Extendible hashing:
a fast access method for dynamic files", ACM TODS 4(3), 1979). A split takes about 0.1 ms.

Keys are integers or strings (see `keys`), values immutable atoms (see `windows`). Shards are plain dicts:
holding nothing but such objects, they are never visited by the garbage collector.
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
    Ledger,
)
from otel_ratelimit.storage.overflow import Overflow
from otel_ratelimit.storage.strategies import Rules, Value

SHARD_KEYS: Final = 320
"""Split above this; both halves then fit a dict of 256 slots (170 entries)."""
_SPARSE_BYTES_PER_KEY: Final = 160
"""A shard whose dict is roomier than this per key is packed again."""
_DENSE_ENOUGH_BYTES: Final = 1024
_FIRST_GROWTH: Final = 1024
_SENDER_MASK: Final = 0x1F | 0x1F << 5
"""The last two digits, which number 256 dicts."""
_SENDER_SHARD_BYTES: Final = 192
"""A dict's place in another, and what it takes beyond its `__sizeof__`."""


class Books(NamedTuple):
    """Where tables write down what they hold."""

    ledger: Ledger
    kinds: list[int]
    """How many keys there are of each kind of client."""


class Swept(NamedTuple):
    """What one look at a shard did."""

    removed: int
    done: bool
    """False if there may be more to remove."""


class Senders:
    """Who opened counters whose keys do not tell: the networks of senders, by key."""

    __slots__ = ("ledger", "shards")

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.shards: dict[int, dict[int, int]] = {}

    def put(self, key: int, network: int) -> int:
        """Note the network of a new key; returns the most that the next one can take."""
        spot = key & _SENDER_MASK
        shard = self.shards.get(spot)
        if shard is None:
            shard = self.shards[spot] = {}
            self.ledger.used += _SENDER_SHARD_BYTES + shard.__sizeof__()
        before = shard.__sizeof__()
        shard[key] = network
        after = shard.__sizeof__()
        self.ledger.used += INTEGER_BYTES + after - before
        return 2 * after + _SENDER_SHARD_BYTES

    def get(self, key: int) -> int:
        """The network of `key`; 0 if none is noted."""
        shard = self.shards.get(key & _SENDER_MASK)
        return 0 if shard is None else shard.get(key, 0)

    def pop(self, key: int) -> int:
        """The network of `key`, which is forgotten; 0 if none is noted."""
        spot = key & _SENDER_MASK
        shard = self.shards.get(spot)
        network = 0 if shard is None else shard.pop(key, 0)
        if shard is None or not network:
            return 0
        self.ledger.used -= INTEGER_BYTES
        if not shard:
            self.ledger.used -= _SENDER_SHARD_BYTES + shard.__sizeof__()
            del self.shards[spot]
        return network

    def weigh(self) -> int:
        """What they take, counted anew."""
        return sum(
            _SENDER_SHARD_BYTES + shard.__sizeof__() + INTEGER_BYTES * len(shard)
            for shard in self.shards.values()
        )


class Table:
    """Counters of one prefix, under one strategy. Every method expects the store's lock to be held."""

    __slots__ = (
        "_extra",
        "add",
        "depth",
        "depths",
        "elastic",
        "flat",
        "form",
        "growth",
        "keys",
        "kinds",
        "ledger",
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

    def __init__(self, name: str, rules: Rules, form: KeyForm, seconds: int, books: Books) -> None:
        self.name = name
        self.rules = rules
        self.form = form
        self.network = form.network
        self.flat = form.size(0) + rules.size(0) if form.flat and not rules.elastic else 0
        """What each counter takes where all take the same; else 0."""
        # At hand without a detour: they are called for every request.
        self.wait, self.add, self.state, self.elastic = rules.wait, rules.add, rules.state, rules.elastic
        self.seconds = seconds
        """Length of the longest window counted here; for one prefix they are all the same."""
        self.ledger = books.ledger
        self.kinds = books.kinds
        self.keys = 0
        self.senders = Senders(self.ledger)
        self._extra = 0
        self.overflow = Overflow(rules, self.ledger, form.overflow_bytes)
        self._begin()
        self.ledger.open_tables(1)

    def _begin(self) -> None:
        self.depth = 0
        self.mask = 0
        self.shards: dict[int, dict[Any, Value]] = {0: {}}
        self.depths: dict[int, int] = {0: 0}
        """Each shard once, by the lowest index that leads to it; and how many bits lead there."""
        self.growth = _FIRST_GROWTH + self._extra
        """The most that one new key can add to the ledger, list of a moving window excepted."""

    @property
    def endpoint(self) -> str:
        """What the table counts, for people: the scope of its prefix, up to the first `:`."""
        parts = self.name.split("|")
        scope = parts[1] if len(parts) > 1 else self.name
        return unquote(scope.partition(":")[0]) or unquote(scope)

    def get(self, key: Any) -> Value | None:
        """The value of `key`, expired or not."""
        return self.shards[self.form.spot(key, self.mask)].get(key)

    def network_of(self, key: Any) -> int:
        """The network that holds the counter of `key`."""
        return self.senders.get(key) or self.network(key) if self.senders.shards else self.network(key)

    def put(self, key: Any, value: Value, client: str = "") -> None:
        """Set `key`, new or not; `client` is what it was made of."""
        shard = self.shards[self.form.spot(key, self.mask)]
        if key in shard:
            self._replace(shard, key, value)
            return
        before = shard.__sizeof__()
        shard[key] = value
        after = shard.__sizeof__()
        ledger, network = self.ledger, self.network(key)
        size = self.flat or self.form.size(key) + self.rules.size(value)
        if type(client) is ClientKey:
            network = client.network
            self._note(key, network)
        ledger.used += size + after - before
        ledger.networks[network % ledger.slots] += size + ENTRY_BYTES
        self.keys += 1
        self.kinds[network >> KIND_SHIFT] += 1
        if after > before:
            self._expect_growth(after)
        if len(shard) > SHARD_KEYS:
            self._split(key)

    def _note(self, key: int, sender: int) -> None:
        extra = self.senders.put(key, sender)
        if extra > self._extra:
            self.growth += extra - self._extra
            self._extra = extra

    def _replace(self, shard: dict[Any, Value], key: Any, value: Value) -> None:
        if self.elastic:
            ledger = self.ledger
            grown = self.rules.size(value) - self.rules.size(shard[key])
            if grown:
                ledger.used += grown
                ledger.networks[self.network_of(key) % ledger.slots] += grown
        shard[key] = value

    def remove(self, key: Any) -> bool:
        """Forget `key`; False if it was not there."""
        return self._remove(self.shards[self.form.spot(key, self.mask)], key)

    def _remove(self, shard: dict[Any, Value], key: Any) -> bool:
        value = shard.pop(key, None)
        if value is None:
            return False
        ledger, network = self.ledger, self.network(key)
        size = self.flat or self.form.size(key) + self.rules.size(value)
        if self.senders.shards:
            network = self.senders.pop(key) or network
        ledger.used -= size
        ledger.networks[network % ledger.slots] -= size + ENTRY_BYTES
        self.keys -= 1
        self.kinds[network >> KIND_SHIFT] -= 1
        return True

    def sweep(self, index: int, now: float, overdue: Callable[[], bool] | None = None) -> Swept:
        """Remove what is expired from one shard, until done or `overdue`, which is asked after each key.

        A key may take far longer than the others: the last object of an arena gives it back to the system.
        """
        shard = self.shards.get(index)
        if not shard:
            return Swept(0, done=True)
        removed = 0
        for key in self.rules.unfit(shard, self.seconds, now):
            value = shard[key]
            if self.rules.expiry(value, self.seconds) <= now:
                removed += self._remove(shard, key)
                if overdue is not None and overdue():
                    return Swept(removed, done=False)
            else:
                self._replace(shard, key, self.rules.settled(value, self.seconds, now))
        self._pack(shard)
        return Swept(removed, done=True)

    def shrink(self) -> None:
        """Give back the directory of a table that has become empty."""
        if not self.keys and len(self.depths) > 1:
            self.ledger.used -= self._frame_bytes()
            self._begin()

    @property
    def unused(self) -> bool:
        """Whether nothing is counted here."""
        return not self.keys and not self.overflow.cells

    def close(self) -> None:
        """Take the table, which must be unused, off the ledger."""
        self.shrink()
        self.ledger.used -= self._frame_bytes()
        self.ledger.open_tables(-1)

    def _pack(self, shard: dict[Any, Value]) -> None:
        before = shard.__sizeof__()
        if before <= max(_DENSE_ENOUGH_BYTES, _SPARSE_BYTES_PER_KEY * len(shard)):
            return
        rest = dict(shard)
        shard.clear()
        shard.update(rest)
        self.ledger.used += shard.__sizeof__() - before

    def _split(self, key: Any) -> None:
        index = self.form.spot(key, self.mask)
        while index not in self.depths:  # drop bits until it is the shard's own index
            index &= ~(1 << (index.bit_length() - 1))
        depth = self.depths[index]
        if depth == self.depth and not self._deepen():
            return
        before = self._directory_bytes() + self.shards[index].__sizeof__()
        masks, spot = self.form.masks, self.form.spot
        bit = masks[depth + 1] & ~masks[depth]
        full = self.shards[index]
        low = {k: v for k, v in full.items() if not spot(k, bit)}
        high = {k: v for k, v in full.items() if spot(k, bit)}
        self.depths[index] = self.depths[index | bit] = depth + 1
        free = rest = self.mask & ~masks[depth]
        while True:  # all indexes that led to the full shard
            self.shards[index | rest] = high if rest & bit else low
            if not rest:
                break
            rest = (rest - 1) & free
        after = self._directory_bytes() + low.__sizeof__() + high.__sizeof__() + SHARD_BYTES
        self.ledger.used += after - before
        self._expect_growth(max(low.__sizeof__(), high.__sizeof__()))

    def _deepen(self) -> bool:
        """Double the directory, unless keys are so uneven that this would not help."""
        if self.depth + 1 == len(self.form.masks) or 1 << self.depth > 8 + 4 * self.keys // SHARD_KEYS:
            return False
        before = self._directory_bytes()
        self.depth += 1
        bit = self.form.masks[self.depth] & ~self.mask
        self.shards |= {index | bit: shard for index, shard in self.shards.items()}
        self.mask = self.form.masks[self.depth]
        self.ledger.used += self._directory_bytes() - before
        return True

    def _expect_growth(self, shard_bytes: int) -> None:
        # A dict that is full doubles; a split makes two of the size of one, and may double the directory.
        self.growth = max(
            self.growth, 2 * shard_bytes + 2 * self._directory_bytes() + MAX_KEY_BYTES + self._extra
        )

    def _directory_bytes(self) -> int:
        entries = len(self.shards) + len(self.depths)
        return self.shards.__sizeof__() + self.depths.__sizeof__() + entries * INTEGER_BYTES

    def _frame_bytes(self) -> int:
        """What directory and shards take beyond `TABLE_BYTES`; keys and values excluded."""
        shards = sum(self.shards[index].__sizeof__() + SHARD_BYTES for index in self.depths)
        return self._directory_bytes() + shards - _EMPTY_FRAME_BYTES

    def weigh(self) -> int:
        """What the table takes, counted anew; equals what it has put on the ledger."""
        items = (item for index in self.depths for item in self.shards[index].items())
        entries = sum(self.form.size(key) + self.rules.size(value) for key, value in items)
        return TABLE_BYTES + self._frame_bytes() + entries + self.overflow.weigh() + self.senders.weigh()


_EMPTY_FRAME_BYTES: Final = 2 * ({0: 0}.__sizeof__() + INTEGER_BYTES) + {}.__sizeof__() + SHARD_BYTES
