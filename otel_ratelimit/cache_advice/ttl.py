"""Which time to live: as short as brings nearly all of what can be had, and not too stale."""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats

NEARLY_ALL: Final = 0.95
"""A longer TTL that adds less than the rest is not worth what it holds in memory, and how old it is."""


def shortest(worth: Floats) -> int | None:
    """The first place that brings nearly as much as the best; None where none brings any."""
    best = float(worth.max(initial=0.0))
    return int(np.argmax(worth >= NEARLY_ALL * best)) if best > 0.0 else None
