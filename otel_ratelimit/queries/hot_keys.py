"""The most frequent keys of a stream, in bounded memory.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data
Streams, ICDT 2005) keeps as many counters as it is given; who is not among them takes the place of the
smallest. Looking for the smallest costs too much for each, so counters are let run to twice the number
and then cut down together: what is cut off is not below the others' error bound (Anderson et al.: A High-
Performance Algorithm for Identifying Frequent Items in Data Streams, IMC 2017).
"""

from __future__ import annotations

import heapq
from typing import Final

_TRIFLE: Final = 0.5


class FrequentKeys:
    """Counters of at most `capacity` keys between two additions, twice as many within; one thread at a time.

    Every key that makes up more than 1/capacity of the stream is among them, and no count is too high, or
    too low by more than `error`.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[bytes, float] = {}
        self.error = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: bytes, n: float = 1) -> None:
        """`n` more of `key`."""
        self._counts[key] = self._counts.get(key, 0.0) + n
        if len(self._counts) >= 2 * self._capacity:
            self._cut()

    def count(self, key: bytes) -> float:
        """How often it came at least."""
        return self._counts.get(key, 0.0)

    def top(self, k: int) -> list[tuple[bytes, float]]:
        """The `k` most frequent and their counts, the most frequent first.

        Of equals those whose last bytes are the largest: their first bytes decide on whether they are
        sampled.
        """
        return heapq.nlargest(k, self._counts.items(), key=lambda item: (item[1], item[0][::-1]))

    def fade(self, left: float) -> None:
        """Let what is long ago count for less: for `left` of what it did, and a trifle for nothing."""
        self._counts = {key: count * left for key, count in self._counts.items() if count * left >= _TRIFLE}
        self.error *= left

    def _cut(self) -> None:
        """Take from all what the first one beyond the capacity has; who has nothing left goes."""
        taken = heapq.nlargest(self._capacity + 1, self._counts.values())[-1]
        self._counts = {key: count - taken for key, count in self._counts.items() if count > taken}
        self.error += taken
