"""Plays whole workloads through real engines, and compares with what a tenth of the keys predicted.

    python loadtest/replay.py [--engine redis|valkey] [--workload NAME] [--rate 0.1]

A cache-aside loop: GET, and SET with a TTL on a miss. Time runs faster than in the workload, and the TTL with
it; the engine is told to look for expired entries as much more often. What predicts sees the sample only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import RunningEngine, running_engine
from sampled import sampled_day
from workloads import SECONDS, WORKLOADS, Workload

from otel_ratelimit.analysis.cache.analyse import analyze_cache_potential
from otel_ratelimit.analysis.cache.assumptions import Assumptions
from otel_ratelimit.analysis.cache.memory import Engine
from otel_ratelimit.analysis.cache.memory_day import QueryRowsDay

TTLS = (60, 600)
SPEED = 200.0
"""Seconds of the workload in one of ours."""
BATCH = 64
"""Requests in one round trip; one that asks for a key of the same round trip waits for the next."""
KEY_BYTES = 40
LOOK_SECONDS = 0.02
"""Between two looks at the memory."""
SECRET = b"secret of the load test"


@dataclass(frozen=True, slots=True)
class Measured:
    """What an engine did."""

    hit_ratio: float
    """By its own count: keyspace_hits."""
    peak_bytes: int
    """The most `used_memory`, less what it took when empty."""
    late_seconds: float
    """The most that a request came after its time, in seconds of the workload."""


def replayed(workload: Workload, engine: RunningEngine, ttl: float, speed: float = SPEED) -> Measured:
    """The whole workload through an engine that was just started."""
    empty = engine.settled_memory()
    with engine.client() as client:
        peak, late = _let_run(workload, client, ttl, speed)
        stats: dict[str, Any] = client.info("stats")
    hits, misses = int(stats["keyspace_hits"]), int(stats["keyspace_misses"])
    if hits + misses != len(workload.at):
        raise RuntimeError(f"{len(workload.at)} were asked, {hits + misses} counted")
    return Measured(hits / (hits + misses), peak - empty, late)


def _let_run(workload: Workload, client: Any, ttl: float, speed: float) -> tuple[int, float]:
    """The most memory, and the most that a request was late in seconds of the workload."""
    names = [f"{key:0{KEY_BYTES}d}".encode() for key in range(len(workload.size))]
    values = b"x" * int(workload.size.max())
    sizes = workload.size.tolist()
    lifetime = round(ttl / speed * 1_000)
    peak, late, next_look = 0, 0.0, 0.0
    begun = time.perf_counter()
    for at, keys in _batches(workload):
        now = time.perf_counter() - begun
        if now < at / speed:
            time.sleep(at / speed - now)
        late = max(late, now * speed - at)
        found = _asked(client, [names[key] for key in keys])
        missing = [key for key, is_there in zip(keys, found, strict=True) if not is_there]
        if missing:
            pipeline = client.pipeline(transaction=False)
            for key in missing:
                pipeline.set(names[key], values[: sizes[key]], px=lifetime)
            pipeline.execute()
        if now >= next_look:
            next_look = now + LOOK_SECONDS
            peak = max(peak, int(client.info("memory")["used_memory"]))
    return peak, late


def _asked(client: Any, names: list[bytes]) -> list[bool]:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        # The length says whether it is there, counts as a hit or a miss as GET does, and sends no value back.
        pipeline.strlen(name)
    return [bool(length) for length in pipeline.execute()]


def _batches(workload: Workload) -> list[tuple[float, list[int]]]:
    """Time of the first, and keys, no key twice."""
    batches: list[tuple[float, list[int]]] = []
    begin, keys = 0.0, dict[int, None]()
    for at, key in zip(workload.at.tolist(), workload.key.tolist(), strict=True):
        if len(keys) == BATCH or key in keys or (keys and at - begin > 0.1):
            batches.append((begin, list(keys)))
            keys = {}
        if not keys:
            begin = at
        keys[key] = None
    batches.append((begin, list(keys)))
    return batches


def _compared(workload: Workload, day: QueryRowsDay, kind: Engine, ttl: int) -> float:
    """Print a row; answers by how many points the prediction is too high."""
    config = {"hz": "500", "enable_debug_command": "yes", "latency_tracking": "no"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_engine(kind, Path(folder), **config) as engine,
    ):
        assumed = Assumptions(engine=kind, allocator=engine.allocator(), key_bytes=KEY_BYTES)
        [at] = analyze_cache_potential(day, assumed, ttls=(ttl,)).by_ttl
        measured = replayed(workload, engine, ttl)
    off = 100 * (at.hit_ratio - measured.hit_ratio)
    half = 50 * (at.hit_ratio_high - at.hit_ratio_low)
    print(f"{workload.name:14} {kind:7} {ttl:5}", end=" ")
    print(f"{100 * at.hit_ratio:10.2f} {100 * measured.hit_ratio:9.2f} {off:+6.2f} {half:8.2f}", end=" ")
    peak_off = 100 * (at.peak_bytes / measured.peak_bytes - 1)
    print(f"{at.peak_bytes / 1e6:10.2f} {measured.peak_bytes / 1e6:9.2f} {peak_off:+7.1f}", end=" ")
    print(f"{measured.late_seconds:7.1f}", flush=True)
    return off


def main() -> None:
    """Print a row for each engine, workload and TTL."""
    options = argparse.ArgumentParser()
    options.add_argument("--engine", choices=["redis", "valkey"])
    options.add_argument("--workload", default="")
    options.add_argument("--rate", type=float, default=0.1)
    given = options.parse_args()
    engines: list[Engine] = [given.engine] if given.engine else ["redis", "valkey"]
    worst = 0.0
    print(f"{'':22} {'TTL s':>5} {'predicted':>10} {'measured':>9} {'off':>6} {'interval':>8}", end=" ")
    print(f"{'peak MB':>10} {'measured':>9} {'off %':>7} {'late s':>7}")
    for make in WORKLOADS:
        workload = make()
        if given.workload not in workload.name:
            continue
        day = sampled_day(workload, given.rate, SECRET, SECONDS)
        for kind in engines:
            for ttl in TTLS:
                off = _compared(workload, day, kind, ttl)
                worst = max(worst, abs(off))
    print(f"worst {worst:.2f} points")
    sys.exit(worst > 0.5)


if __name__ == "__main__":
    main()
