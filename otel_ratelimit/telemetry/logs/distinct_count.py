"""Estimates how many different clients there were, in a kilobyte.

HyperLogLog: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog: the analysis of a near-optimal cardinality
estimation algorithm", AofA 2007. With 1,024 registers the standard error is 3 %; a few hundred clients are
counted almost exactly, by the linear counting that the paper proposes for small numbers.
"""

from __future__ import annotations

import math
from typing import Final

_INDEX_BITS: Final = 10
_REGISTERS: Final = 1 << _INDEX_BITS
_RANK_BITS: Final = 64 - _INDEX_BITS
_ALPHA: Final = 0.7213 / (1 + 1.079 / _REGISTERS)


class DistinctCount:
    """Estimates how many different texts were added. Python's hash is keyed, so no sender can falsify it."""

    __slots__ = ("_ranks",)

    def __init__(self) -> None:
        self._ranks = bytearray(_REGISTERS)

    def add(self, text: str) -> None:
        """Count `text`."""
        bits = hash(text)
        rank = _RANK_BITS + 1 - (bits >> _INDEX_BITS & (1 << _RANK_BITS) - 1).bit_length()
        index = bits & _REGISTERS - 1
        self._ranks[index] = max(self._ranks[index], rank)

    def merge(self, other: DistinctCount) -> None:
        """Count everything that `other` has counted."""
        self._ranks = bytearray(map(max, self._ranks, other._ranks))

    @property
    def estimate(self) -> int:
        """About how many different texts there were."""
        empty = self._ranks.count(0)
        raw = _ALPHA * _REGISTERS**2 / sum(2.0**-rank for rank in self._ranks)
        if raw <= 2.5 * _REGISTERS and empty:
            raw = _REGISTERS * math.log(_REGISTERS / empty)
        return round(raw)
