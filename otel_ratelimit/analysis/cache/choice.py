"""Which time to live: as short as brings nearly all of what can be had, and not too stale."""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.analysis.cache.columns import Bools, Floats

NEARLY_ALL: Final = 0.95
"""A longer TTL that adds less than the rest is not worth what it holds in memory, and how old it is."""


def shortest(worth: Floats, allowed: Bools) -> int | None:
    """The first place that is allowed and brings nearly as much as the best; None where none brings any."""
    can = np.where(allowed, worth, 0.0)
    best = float(can.max(initial=0.0))
    if best <= 0.0:
        return None
    return int(np.argmax(can >= NEARLY_ALL * best))
