"""Entries that have expired and still take memory, by arithmetic alone.

The engine removes an expired entry when a client asks for it, or when the engine's sweep reaches it
(expire.c, `activeExpireCycle`, the same in Redis 7.0 and Valkey 9.1). Ten times a second (`hz`) the sweep
continues through the table of expiries, about twenty keys at a look, until a look finds at most a tenth of
the keys expired. If a share s of n keys has expired, a look finds that with the probability

    P(s) = sum over i <= n / 10 of (n over i) s^i (1 - s)^(n - i)

so each time the sweep advances by n / P(s) keys on average. Ahead of the sweep are the keys that have expired
since its last visit, one turn ago; behind it no key has expired. From that follows, second by second, how far
the sweep gets and how many expired entries it leaves: with many keys about a tenth of the entries, and more
where more entries expire.

The engine's second kind of cycle, between commands, does not help: it compares the share of expired keys, 0
to 1, with the ten of ten per cent. So it runs only where the first one ran out of its time, a quarter of the
engine's.

`loadtest/expired.py` compares this with running engines. Where clients ask for most keys again soon after
they have expired, fewer expired entries are left than this says; `peak` in `peak_memory.py` limits their
number, since there are never more entries than keys.
"""

from __future__ import annotations

from math import comb
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats
from otel_ratelimit.core.cache_assumptions import Engine

CYCLES_A_SECOND: Final = 10.0
"""`hz`; `dynamic-hz` raises it only where there are more than 2,000 clients."""
KEYS_A_LOOK: Final[dict[Engine, int]] = {"redis": 20, "valkey": 22}
"""ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP. Valkey looks at whole buckets of about five keys, and so at two keys
more on average."""
_MAX_FOUND: Final = 2
"""A tenth of the keys of a look."""
_SHARES: Final = np.linspace(0.0, 0.7, 701)


def uncollected(engine: Engine, live: Floats, expiring: Floats) -> Floats:
    """Expired entries that still take memory, second by second.

    Args:
        engine: the cache engine.
        live: entries that have not expired, at the end of each second.
        expiring: entries that expire in each second.
    """
    passed = _keys_passed(engine).tolist()
    if not expiring.any() or float((live + expiring).max(initial=0.0)) <= passed[0]:
        # The sweep finishes a turn every second, so it finds each entry half a second late on average.
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
            # The sweep passed its present place one turn ago.
            while turns[last + 1] <= turned - 1.0:
                last += 1
            part = (turned - 1.0 - turns[last]) / (turns[last + 1] - turns[last])
            then = expired[last] + part * (expired[last + 1] - expired[last])
            area_then = areas[last] + part * (areas[last + 1] - areas[last])
        # All entries that have expired, less those that had when the sweep visited their part of the table.
        left[second] = max(so_far - (area - area_then), 0.0)
    return left


def _keys_passed(engine: Engine) -> Floats:
    """Keys that the sweep passes in a second, by the share of expired keys ahead of it."""
    looked_at = KEYS_A_LOOK[engine]
    stops = sum(
        comb(looked_at, found) * _SHARES**found * (1.0 - _SHARES) ** (looked_at - found)
        for found in range(_MAX_FOUND + 1)
    )
    return np.asarray(CYCLES_A_SECOND * looked_at / stops)
