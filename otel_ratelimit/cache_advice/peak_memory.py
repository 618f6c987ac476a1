"""The most memory that a cache takes on a day.

The highest second of a sample is too high: it is the second at which the sample, by chance, has the largest
excess. There is no such excess if one half of the sampled keys says when the peak was and the other half how
high it was then, and the other way round. That is too low where by chance the halves find a second that is
not among the highest. The mean of both estimates is off by little in either direction. Part of the excess is
real: the contents of the cache vary by chance, too, sqrt(r) times as much as a sample of the share r.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.entry_memory import table_bytes
from otel_ratelimit.cache_advice.expired_entries import uncollected
from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.core.cache_assumptions import Assumptions, Engine

_HALF: Final = 0.5
"""Half of a key; a smaller number of keys is the rounding error of sums that are zero."""


def peak(live: LiveEntries, place: int, assumptions: Assumptions) -> tuple[float, float]:
    """Keys and bytes at the second with the most bytes; with hash tables and expired entries.

    Args:
        live: entries that have not expired.
        place: place of the TTL.
        assumptions: name the engine and its allocator.
    """
    keys, size, half_size = live.series(place)
    more = 1.0 + _expired(keys, live.different(), live.ttls[place], assumptions.engine)
    counted = np.rint(np.maximum(keys * more, 0.0)).astype(np.int64)
    tables = table_bytes(assumptions.engine, counted, allocator=assumptions.allocator)
    whole, one = size * more + tables, half_size * more + tables
    other = 2.0 * whole - one
    at = int(np.argmax(whole))
    if keys[at] < _HALF:
        return 0.0, 0.0
    fair = (other[np.argmax(one)] + one[np.argmax(other)]) / 2.0
    most = fair + (whole[at] - fair) * (1.0 + sqrt(live.rate)) / 2.0
    return float(keys[at] * more[at] * most / whole[at]), float(most)


def peaks(live: LiveEntries, assumptions: Assumptions) -> list[tuple[float, float]]:
    """The same for each TTL; a longer TTL never takes less memory.

    With a longer TTL the same keys stay for longer. They are also filled at other times, so by chance a
    shorter TTL can have more of them at once; that is not a saving to rely on.
    """
    found: list[tuple[float, float]] = []
    for place in range(len(live.ttls)):
        one = peak(live, place, assumptions)
        found.append(max(one, found[-1], key=lambda each: each[1]) if found else one)
    return found


def _expired(keys: Floats, different: Floats, ttl: int, engine: Engine) -> Floats:
    """Entries that have expired and still take memory, as a multiple of the live entries.

    An expired entry whose key is filled again is overwritten, so there are never more entries than keys.
    """
    live = np.maximum(keys, 0.0)
    filled = np.zeros(-(-len(live) // ttl) * ttl)
    filled[: len(live)] = np.diff(live, prepend=0.0)
    # Live entries are those that were filled, less those that were filled a TTL ago.
    filled = np.maximum(np.cumsum(filled.reshape(-1, ttl), axis=0).reshape(-1), 0.0)
    expiring = np.zeros_like(live)
    expiring[ttl:] = filled[: max(len(live) - ttl, 0)]
    left = np.minimum(uncollected(engine, live, expiring), np.maximum(different - live, 0.0))
    return left / np.maximum(live, 1.0)
