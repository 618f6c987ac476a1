"""Entries that have expired and still take memory, by arithmetic alone.

An entry goes when somebody asks for it after its time, or when the engine's sweep comes by (expire.c,
`activeExpireCycle`, of Redis 7.0 and Valkey 9.1 alike). Ten times a second (`hz`) the sweep goes on through
the table of expiries, some twenty keys at a look, until a look finds at most a tenth of them expired. Of n
keys of which a share s has expired that is so with the probability

    P(s) = sum over i <= n / 10 of (n over i) s^i (1 - s)^(n - i)

so that it goes on by n / P(s) keys each time, on average. Before it lies what has expired since it was there
the last time, a turn ago; behind it there is nothing that has expired. From that follows, second by second,
how far it comes, and what it leaves: with many keys about a tenth of the entries, more where more expire.

The second kind of cycle, between commands, is no help: it compares the share of expired keys, 0 to 1, with
the ten of ten per cent, and so runs only where the first one ran out of time, a quarter of the engine's.

Held against running engines by `loadtest/expired.py`. Where most keys are asked for again soon after they
have expired, fewer are left to the sweep than this says: `peak` caps it, since there are never more entries
than keys.
"""

from __future__ import annotations

from math import comb
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.core.cache_assumptions import Engine

CYCLES_A_SECOND: Final = 10.0
"""`hz`; `dynamic-hz` raises it only with more than 2,000 clients."""
KEYS_A_LOOK: Final[dict[Engine, int]] = {"redis": 20, "valkey": 22}
"""ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP; whole buckets, in Valkey of about five keys, so that a look is at two
more on average."""
_MAX_FOUND: Final = 2
"""A tenth of a look."""
_SHARES: Final = np.linspace(0.0, 0.7, 701)


def uncollected(engine: Engine, live: Floats, expiring: Floats) -> Floats:
    """Expired entries that are still there, second by second.

    Args:
        engine: which one.
        live: entries that have not expired, at the end of each second.
        expiring: entries whose time runs out in each second.
    """
    passed = _keys_passed(engine).tolist()
    if not expiring.any() or float((live + expiring).max(initial=0.0)) <= passed[0]:
        # The sweep comes round every second, and so to each half a second late on average.
        return expiring / 2.0
    most = len(passed) - 1
    turns, expired, areas = [0.0], [0.0], [0.0]
    turned = so_far = area = 0.0
    last, then, area_then = 0, 0.0, 0.0
    left = np.zeros(len(live))
    for second, (living, more) in enumerate(zip(live.tolist(), expiring.tolist(), strict=True)):
        ahead = so_far - then
        so_far += more
        whole = living + ahead
        step = 1.0
        if whole > 0.0:
            step = min(passed[min(int(ahead / whole * most / _SHARES[-1]), most)] / whole, 1.0)
        turned += step
        area += (so_far - more / 2.0) * step
        turns.append(turned)
        expired.append(so_far)
        areas.append(area)
        if turned > 1.0:
            # What is before the sweep now it left behind a turn ago.
            while turns[last + 1] <= turned - 1.0:
                last += 1
            part = (turned - 1.0 - turns[last]) / (turns[last + 1] - turns[last])
            then = expired[last] + part * (expired[last + 1] - expired[last])
            area_then = areas[last] + part * (areas[last + 1] - areas[last])
        # All that has expired, less for each part of the table what had when the sweep was there.
        left[second] = max(so_far - (area - area_then), 0.0)
    return left


def _keys_passed(engine: Engine) -> Floats:
    """In a second, by the share of expired keys before the sweep."""
    looked_at = KEYS_A_LOOK[engine]
    stops = sum(
        comb(looked_at, found) * _SHARES**found * (1.0 - _SHARES) ** (looked_at - found)
        for found in range(_MAX_FOUND + 1)
    )
    return np.asarray(CYCLES_A_SECOND * looked_at / stops)
