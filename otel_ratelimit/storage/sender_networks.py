"""The network from which a counter was opened, for keys that do not tell it.

The value of a header or the answer of a function is the same client in every network, and the sender may
choose it. The network of such a counter (`ClientKey.network`) is therefore stored beside the key.
"""

from __future__ import annotations

from typing import Final

from otel_ratelimit.storage.memory_budget import INTEGER_BYTES, MemoryBudget

_SHARD_MASK: Final = 0x1F | 0x1F << 5
"""The last two digits of a key; they choose one of 256 dicts."""
_SHARD_BYTES: Final = 192
"""A dict's entry in the dict of dicts, and what it takes beyond its `__sizeof__`."""


class SenderNetworks:
    """Networks of senders, by counter key."""

    __slots__ = ("budget", "shards")

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.shards: dict[int, dict[int, int]] = {}

    def put(self, key: int, network: int) -> int:
        """Store the network of a new key; returns the most bytes that the next one can take."""
        index = key & _SHARD_MASK
        shard = self.shards.get(index)
        if shard is None:
            shard = self.shards[index] = {}
            self.budget.used += _SHARD_BYTES + shard.__sizeof__()
        before = shard.__sizeof__()
        shard[key] = network
        after = shard.__sizeof__()
        self.budget.used += INTEGER_BYTES + after - before
        return 2 * after + _SHARD_BYTES

    def get(self, key: int) -> int:
        """The network of `key`; 0 if none is stored."""
        shard = self.shards.get(key & _SHARD_MASK)
        return 0 if shard is None else shard.get(key, 0)

    def pop(self, key: int) -> int:
        """Remove and return the network of `key`; 0 if none is stored."""
        index = key & _SHARD_MASK
        shard = self.shards.get(index)
        network = 0 if shard is None else shard.pop(key, 0)
        if shard is None or not network:
            return 0
        self.budget.used -= INTEGER_BYTES
        if not shard:
            self.budget.used -= _SHARD_BYTES + shard.__sizeof__()
            del self.shards[index]
        return network

    def weigh(self) -> int:
        """The bytes that they take, measured again from the objects."""
        return sum(
            _SHARD_BYTES + shard.__sizeof__() + INTEGER_BYTES * len(shard) for shard in self.shards.values()
        )
