"""Which keys are in the sample all day long."""

from __future__ import annotations

import numpy as np

from otel_ratelimit.cache_advice.query_day import Bools, Floats, Keys

_SPACE = 2.0**64


class SampledKeys:
    """Those below a threshold, the lowest there was on the day.

    Where there was too much to keep, fewer keys were kept for some minutes. Who was kept then was kept
    always; of the others a part of the day is missing, and they are left out.

    Args:
        rate: the lowest share of keys that was kept, more than 0.
    """

    def __init__(self, rate: float) -> None:
        self.is_everything = rate >= 1.0
        self.weight = 1.0 / min(rate, 1.0)
        """How many keys each of them stands for."""
        self._below = None if self.is_everything else np.uint64(rate * _SPACE)

    def has(self, key: Keys) -> Bools:
        """Whether each is one of them."""
        return np.ones(len(key), dtype=np.bool_) if self._below is None else key < self._below


def in_half(key: Keys) -> Floats:
    """How often each key counts where half of them stand for all: 2 or 0."""
    return 2.0 * (key & np.uint64(1)).astype(np.float64)
