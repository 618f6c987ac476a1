"""Which keys are in the sample all day."""

from __future__ import annotations

import numpy as np

from otel_ratelimit.cache_advice.query_day import Bools, Floats, Keys

_SPACE = 2.0**64


class SampledKeys:
    """The keys below the lowest threshold of the day.

    Under load the log keeps fewer keys for some minutes. Keys that were kept even then were kept all day. For
    the other keys a part of the day is missing, so the analysis leaves them out.

    Args:
        rate: the lowest share of keys that was kept, more than 0.
    """

    def __init__(self, rate: float) -> None:
        self.is_everything = rate >= 1.0
        self.weight = 1.0 / min(rate, 1.0)
        """Number of keys that each sampled key stands for."""
        self._below = None if self.is_everything else np.uint64(rate * _SPACE)

    def has(self, key: Keys) -> Bools:
        """Whether each key is in the sample."""
        return np.ones(len(key), dtype=np.bool_) if self._below is None else key < self._below


def in_half(key: Keys) -> Floats:
    """How often each key counts where half of the keys stand for all: 2 or 0."""
    return 2.0 * (key & np.uint64(1)).astype(np.float64)
