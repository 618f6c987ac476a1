"""How many expired entries an engine has not removed yet, in real time and with the clock of `replay.py`.

    python loadtest/expired.py [--engine redis|valkey]

All keys are read equally often. A key that is not read again stays until the engine's active expiry removes
it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from clock import RealClock
from engines import running_engine
from options import engine_options, engines
from replay import SETTINGS, Measured, measured, pool, replayed
from workloads import Workload

from otel_ratelimit.cache_advice.expired_entries import uncollected
from otel_ratelimit.core.cache_assumptions import Engine

SECONDS = 120.0
CASES = ((5_000, 20.0), (5_000, 40.0), (1_000, 20.0), (200, 20.0))
"""Reads per second, and TTL in seconds."""
READS_A_KEY = 1.5
"""Reads of a key within one TTL; the fewer they are, the more entries are left to active expiry."""


def even(reads_a_second: int, ttl: float) -> Workload:
    """A workload that reads all keys equally often."""
    draw = np.random.default_rng(21)
    reads, keys = round(reads_a_second * SECONDS), round(reads_a_second * ttl / READS_A_KEY)
    none = np.zeros(0)
    return Workload(
        "even",
        np.sort(draw.random(reads) * SECONDS),
        draw.integers(keys, size=reads),
        np.zeros(keys, dtype=np.int64),
        np.full(keys, 300),
        np.zeros(reads),
        none,
        none.astype(np.int64),
    )


def in_real_time(workload: Workload, kind: Engine, ttl: float) -> tuple[Measured, float]:
    """The measurement, and the longest delay of a request in seconds."""
    with tempfile.TemporaryDirectory() as folder, running_engine(kind, Path(folder), **SETTINGS) as engine:
        clock = RealClock()
        return replayed(workload, engine, clock, ttl), clock.late


def _predicted(kind: Engine, filled_a_second: float, ttl: int) -> float:
    """Predicted share of expired entries, in the second half of the time."""
    seconds = np.arange(1.0, SECONDS + 1.0)
    live = filled_a_second * np.minimum(seconds, ttl)
    left = uncollected(kind, live, np.where(seconds > ttl, filled_a_second, 0.0))
    half = len(seconds) // 2
    return float(left[half:].sum() / (left + live)[half:].sum())


def main() -> None:
    """Print a row for each engine and case."""
    given = engine_options(argparse.ArgumentParser(), jobs=4).parse_args()
    print("| reads a second | TTL s | engine | misses a second |", end=" ")
    print("predicted % | real time % | replay % | late s |")
    print("|---" * 8 + "|", flush=True)
    with pool(given.jobs) as processes:
        running = [
            (reads, ttl, kind, processes.submit(in_real_time, even(reads, ttl), kind, ttl))
            for reads, ttl in CASES
            for kind in engines(given)
        ]
        for reads, ttl, kind, job in running:
            found, late = job.result()
            expiring = (1.0 - found.hit_ratio) * reads
            predicted = _predicted(kind, expiring, round(ttl))
            replay = measured(even(reads, ttl), kind, ttl)
            print(
                f"| {reads:,} | {ttl:.0f} | {kind} | {expiring:,.0f} | {100 * predicted:.1f}",
                f"| {100 * found.expired_share:.1f} | {100 * replay.expired_share:.1f} | {late:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
