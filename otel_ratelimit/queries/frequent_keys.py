"""The most frequent keys of a stream, in bounded memory.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data
Streams, ICDT 2005) keeps a fixed number of counters; a key without one takes that of the smallest. Looking
for the smallest costs too much for each key. So counters may grow to twice the number, and are then cut down
together; the error bound stays the same (Anderson et al.: A High-Performance Algorithm for Identifying
Frequent Items in Data Streams, IMC 2017).
"""

from __future__ import annotations

import heapq
from typing import Final

_MIN_COUNT: Final = 0.5


class FrequentKeys:
    """Counters of fewer than twice `capacity` keys; used by one thread at a time.

    Every key that makes up more than 1/capacity of the stream has a counter. No count is too high, and none
    is too low by more than `error`.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[bytes, float] = {}
        self.error = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: bytes, n: float = 1) -> None:
        """Count `n` more of `key`."""
        self._counts[key] = self._counts.get(key, 0.0) + n
        if len(self._counts) >= 2 * self._capacity:
            self._cut()

    def count(self, key: bytes) -> float:
        """How often `key` came at least."""
        return self._counts.get(key, 0.0)

    def top(self, k: int) -> list[tuple[bytes, float]]:
        """The `k` most frequent keys and their counts, the most frequent first.

        Among equal counts the keys whose last bytes are the largest come first, because the first bytes
        decide whether a key is sampled.
        """
        return heapq.nlargest(k, self._counts.items(), key=lambda item: (item[1], item[0][::-1]))

    def fade(self, left: float) -> None:
        """Multiply all counts with `left`, so that older keys count less; forget the smallest counts."""
        self._counts = {
            key: count * left for key, count in self._counts.items() if count * left >= _MIN_COUNT
        }
        self.error *= left

    def _cut(self) -> None:
        """Subtract the largest count beyond the capacity from all counts; forget keys with nothing left."""
        taken = heapq.nlargest(self._capacity + 1, self._counts.values())[-1]
        self._counts = {key: count - taken for key, count in self._counts.items() if count > taken}
        self.error += taken
