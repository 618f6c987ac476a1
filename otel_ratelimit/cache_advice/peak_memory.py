"""The most memory that a cache takes on a day.

Of a sample, the highest second is too high: it is that at which the sample, by chance, has the most in
excess. If one half of the sampled keys tells when it was, and the other half how high it was then, and the
other way round, that is free of such an excess; but too low where by chance the halves find a second that is
none of the highest. The middle of both is off by little either way. Not all of the excess is the sample's:
what is really in the cache varies by chance, too, sqrt(r) times as much as a sample of the share r.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.entry_memory import table_bytes
from otel_ratelimit.cache_advice.expiry import uncollected
from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.core.cache_assumptions import Assumptions, Engine

_HALF: Final = 0.5
"""Of a key; less is the rounding error of sums that come to nothing."""


def peak(live: LiveEntries, place: int, assumed: Assumptions) -> tuple[float, float]:
    """Keys and bytes when these are the most; hash tables and what has expired included.

    Args:
        live: what has not expired.
        place: of the time to live.
        assumed: of the engine.
    """
    keys, size, half_size = live.series(place)
    more = 1.0 + _expired(keys, live.different(), live.ttls[place], assumed.engine)
    counted = np.rint(np.maximum(keys * more, 0.0)).astype(np.int64)
    tables = table_bytes(assumed.engine, counted, allocator=assumed.allocator)
    whole, one = size * more + tables, half_size * more + tables
    other = 2.0 * whole - one
    at = int(np.argmax(whole))
    if keys[at] < _HALF:
        return 0.0, 0.0
    fair = (other[np.argmax(one)] + one[np.argmax(other)]) / 2.0
    most = fair + (whole[at] - fair) * (1.0 + sqrt(live.rate)) / 2.0
    return float(keys[at] * more[at] * most / whole[at]), float(most)


def peaks(live: LiveEntries, assumed: Assumptions) -> list[tuple[float, float]]:
    """The same for each time to live; a longer one never takes less.

    With a longer one the same keys are there, and longer. When they are filled changes with it, so that more
    of them may by chance be there at once with a shorter one; that is no saving to count on.
    """
    found: list[tuple[float, float]] = []
    for place in range(len(live.ttls)):
        one = peak(live, place, assumed)
        found.append(max(one, found[-1], key=lambda each: each[1]) if found else one)
    return found


def _expired(keys: Floats, different: Floats, ttl: int, engine: Engine) -> Floats:
    """Entries that have expired and are still there, as a multiple of those that live.

    One whose key is filled again is overwritten, so that with those that live they are never more than keys.
    """
    live = np.maximum(keys, 0.0)
    filled = np.zeros(-(-len(live) // ttl) * ttl)
    filled[: len(live)] = np.diff(live, prepend=0.0)
    # What lives is what was filled less what was filled a TTL ago.
    filled = np.maximum(np.cumsum(filled.reshape(-1, ttl), axis=0).reshape(-1), 0.0)
    expiring = np.zeros_like(live)
    expiring[ttl:] = filled[: max(len(live) - ttl, 0)]
    left = np.minimum(uncollected(engine, live, expiring), np.maximum(different - live, 0.0))
    return left / np.maximum(live, 1.0)
