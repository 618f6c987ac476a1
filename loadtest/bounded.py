"""Hit ratios with too little memory: predicted from a tenth of the keys, and measured with real eviction.

    python loadtest/bounded.py [--engine redis|valkey] [--workload NAME] [--scale 5] [--rate 0.1] [--jobs 2]

It works like `replay.py`, with `maxmemory` at shares of the predicted peak and `maxmemory-policy
allkeys-lru`.
"""

from __future__ import annotations

import sys

import numpy as np
from memory_day import QueryRowsDay
from options import engine_options, engines, workload_options, workloads
from replay import SECRET, Measured, assumptions, measured, pool
from sampled import START, sampled_day
from workloads import SECONDS, Floats

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.entry_memory import entry_bytes
from otel_ratelimit.cache_advice.hit_ratio_surface import hit_ratios_with_memory
from otel_ratelimit.cache_advice.query_day import WRITE, Executions, HotExecutions
from otel_ratelimit.cache_advice.replay_trace import Trace, TraceSample
from otel_ratelimit.cache_advice.result import AtTtl
from otel_ratelimit.core.cache_assumptions import Assumptions

TTL = 600
SHARES = (0.2, 0.5)
"""Memory as a share of the predicted peak."""


def trace_of(day: QueryRowsDay, assumed: Assumptions) -> Trace:
    """The reads of the day as the hit ratio surface replays them."""

    def stored(result_bytes: Floats) -> Floats:
        values = np.rint(result_bytes).astype(np.int64)
        return entry_bytes(assumed.engine, assumed.key_bytes, values, allocator=assumed.allocator)

    sample = TraceSample(START, stored, np.array([each.mean_result_bytes for each in day.templates]))

    def take_hot(piece: HotExecutions) -> None:
        sample.add_hot(piece.where((piece.rows.flags & WRITE) == 0))

    def take_cold(rows: Executions) -> None:
        sample.add_cold(rows.where((rows.flags & WRITE) == 0))

    day.hot(take_hot)
    day.cold(take_cold)
    return sample.trace()


def _told(assumed: Assumptions, trace: Trace, at: AtTtl, share: float, found: Measured) -> float:
    [predicted] = hit_ratios_with_memory(trace, at, [share * at.peak_bytes], assumed)
    off = 100 * (predicted - found.hit_ratio)
    print(
        f"{assumed.engine} | {share * at.peak_bytes / 1e6:.1f} ({100 * share:.0f} %) "
        f"| {100 * predicted:.2f} | {100 * found.hit_ratio:.2f} | {off:+.2f} "
        f"| {100 * at.hit_ratio:.2f} | {found.evicted:,} |",
        flush=True,
    )
    return off


def main() -> None:
    """Print a row for each engine, workload and memory."""
    given = engine_options(workload_options(scale=5.0), jobs=2).parse_args()
    assumed = {kind: assumptions(kind) for kind in engines(given)}
    worst = 0.0
    print("| workload | engine | memory MB | predicted % | measured % | off | without a limit | evicted |")
    print("|---" * 8 + "|", flush=True)
    with pool(given.jobs) as processes:
        for workload in workloads(given):
            day = sampled_day(workload, given.rate, SECRET, SECONDS)
            for kind, of_engine in assumed.items():
                [at] = analyze_cache_potential(day, of_engine, ttls=(TTL,)).by_ttl
                running = [
                    processes.submit(measured, workload, kind, TTL, share * at.peak_bytes) for share in SHARES
                ]
                trace = trace_of(day, of_engine)
                for share, job in zip(SHARES, running, strict=True):
                    print(f"| {workload.name} |", end=" ")
                    off = _told(of_engine, trace, at, share, job.result())
                    worst = max(worst, abs(off))
    print(f"worst {worst:.2f} points")
    sys.exit(worst > 2.0)


if __name__ == "__main__":
    main()
