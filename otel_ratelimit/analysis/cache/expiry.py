"""Entries that have expired and still take memory, by arithmetic alone.

An entry goes when somebody asks for it after its time, or when the engine's sweep comes by (expire.c,
`activeExpireCycle`, of Redis 7.0 and Valkey 9.1 alike). Ten times a second (`hz`) the sweep goes on through
the table of expiries, some twenty keys at a look, until a look finds at most a tenth of them expired. Of n
keys of which a share s has expired, it finds n s, and stops with the probability

    P(s) = sum over i <= n / 10 of (n over i) s^i (1 - s)^(n - i)

so that n s / P(s) go in each cycle on average. As many expire meanwhile: from that follows the share s that
the sweep finds before it. Behind it there are none, so on average over the table there are half as many.

The second kind of cycle, between commands, is no help: it compares the share of expired keys, 0 to 1, with
the ten of ten per cent, and so runs only where the first one ran out of time, a quarter of the engine's.

Held against running engines by `loadtest/expired.py`. Where most keys are asked for again soon after they
have expired, fewer are left to the sweep than this says.
"""

from __future__ import annotations

from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from otel_ratelimit.analysis.cache.memory import Engine

CYCLES_A_SECOND: Final = 10.0
"""`hz`; `dynamic-hz` raises it only with more than 2,000 clients."""
KEYS_A_LOOK: Final[dict[Engine, int]] = {"redis": 20, "valkey": 22}
"""ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP; whole buckets, in Valkey of about five keys, so that a
look is at two more on average."""
_MOST_FOUND: Final = 2
"""A tenth of a look."""
_SHARES: Final = np.linspace(0.0, 0.7, 701)


def uncollected(engine: Engine, expiring_a_second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expired entries that are still there, as a multiple of those that live.

    Args:
        engine: which one.
        expiring_a_second: entries whose time runs out in a second.
    """
    of_looks = KEYS_A_LOOK[engine]
    stops = sum(
        comb(of_looks, found) * _SHARES**found * (1.0 - _SHARES) ** (of_looks - found)
        for found in range(_MOST_FOUND + 1)
    )
    share = np.interp(expiring_a_second / CYCLES_A_SECOND, of_looks * _SHARES / stops, _SHARES)
    before_the_sweep = share / (1.0 - share)
    return np.asarray(before_the_sweep / 2.0)
