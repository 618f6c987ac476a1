"""Replays whole workloads through real engines, and compares them with predictions from a tenth of the keys.

    python loadtest/replay.py [--engine redis|valkey] [--workload NAME] [--scale 5] [--rate 0.1] [--jobs 2]

It runs a cache-aside loop: a lookup, and on a miss SET with a TTL. The engine uses the clock of the workload
(`clock.py`), so that it removes expired entries as often as on a real day. The prediction uses the sample
only.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from clock import Clock, EngineClock
from engines import RunningEngine, running_engine
from options import engine_options, engines, workload_options, workloads
from pipelined import Pipelined, command
from sampled import sampled_day
from workloads import SECONDS, Floats, Workload

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.result import AtTtl
from otel_ratelimit.core.cache_assumptions import Assumptions, Engine

TTLS = (60, 600)
BATCH = 256
"""At most this many different keys go into one round trip."""
BATCH_SECONDS = 0.1
"""A round trip spans at most this time; the engine checks its timers as often."""
KEY_BYTES = 40
LOOK_SECONDS = 1.0
"""Time between two measurements of the memory."""
SETTINGS = {"latency_tracking": "no"}
"""Settings of the engine. Otherwise the first use of a command allocates its histogram."""
SECRET = b"secret of the load test"


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of an engine."""

    hit_ratio: float
    """The engine's own count: keyspace_hits."""
    peak_bytes: int
    """The highest `used_memory`, minus its value when the engine was empty with its client connected."""
    expired_share: float
    """Share of entries that had expired and were not yet removed, in the second half of the time."""
    evicted: int
    """Entries evicted because memory was full."""


def replayed(
    workload: Workload,
    engine: RunningEngine,
    clock: Clock,
    ttl: float,
    memory_bytes: float | None = None,
) -> Measured:
    """Replay the whole workload through an engine that was just started.

    Args:
        workload: the reads to replay.
        engine: an engine that was started with `SETTINGS`.
        clock: the engine's clock.
        ttl: seconds.
        memory_bytes: memory for entries and hash tables; None for no limit.
    """
    with Pipelined(engine.socket) as pipe:
        _warm(pipe)
        empty = pipe.used_memory()
        if memory_bytes is not None:
            pipe.reply("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            pipe.reply("CONFIG", "SET", "maxmemory", round(empty + memory_bytes))
        pipe.reply("CONFIG", "RESETSTAT")
        playing = _Playing(workload, pipe, clock, ttl)
        playing.run()
        stats = pipe.info("stats")
    hits, misses = int(stats["keyspace_hits"]), int(stats["keyspace_misses"])
    if hits + misses != len(workload.at):
        raise RuntimeError(f"{len(workload.at)} reads were sent, but the engine counted {hits + misses}")
    return Measured(
        hits / (hits + misses),
        playing.peak - empty,
        playing.expired_share(),
        int(stats["evicted_keys"]),
    )


def _warm(pipe: Pipelined) -> None:
    """Let the engine allocate memory for the connection before its empty size is measured."""
    for _ in range(5):
        pipe.replies([command("SET", b"warm", b"x" * 1_000)] * BATCH)
        pipe.info("memory")
    pipe.reply("DEL", b"warm")


class _Playing:
    def __init__(self, workload: Workload, pipe: Pipelined, clock: Clock, ttl: float) -> None:
        self._workload = workload
        self._pipe = pipe
        self._clock = clock
        keys = len(workload.size)
        names = [b"%0*d" % (KEY_BYTES, key) for key in range(keys)]
        # STRLEN shows whether a key exists and counts as a hit or a miss like GET, but sends no value back.
        self._look = [command(b"STRLEN", name) for name in names]
        self._ttl = ttl
        self._set = [b"*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n" % (len(name), name) for name in names]
        self._set_end = command(b"PX", round(1_000 * ttl)).removeprefix(b"*2\r\n")
        self._size: list[int] = workload.size.tolist()
        self._values = b"x" * max(self._size)
        self._expires: Floats = np.zeros(keys)
        self.peak = 0
        self._seen: list[tuple[int, int]] = []
        """Pairs: the number of entries, and of entries that had not expired."""

    def run(self) -> None:
        ask = self._pipe.replies
        next_look = 0.0
        for at, keys, repeats in _batches(self._workload):
            self._clock.set(at)
            found = ask([self._look[key] for key in keys])
            missing = [key for key, length in zip(keys, found, strict=True) if not length]
            then = [self._filled(key) for key in missing] + [self._look[key] for key in repeats]
            if then:
                ask(then)
                self._expires[missing] = at + self._ttl
            if at >= next_look:
                next_look = at + LOOK_SECONDS
                self._see(at)

    def _filled(self, key: int) -> bytes:
        size = self._size[key]
        return b"%s$%d\r\n%s\r\n%s" % (self._set[key], size, self._values[:size], self._set_end)

    def _see(self, now: float) -> None:
        used, entries = self._pipe.used_memory(), self._pipe.reply("DBSIZE")
        self.peak = max(self.peak, used)
        self._seen.append((entries, int(np.count_nonzero(self._expires > now))))

    def expired_share(self) -> float:
        """Share of all entries, in the second half of the time."""
        entries, live = np.sum(self._seen[len(self._seen) // 2 :], axis=0)
        return float(1.0 - live / entries)


def _batches(workload: Workload) -> Iterator[tuple[float, list[int], list[int]]]:
    """Batches: the time of the first read, its different keys, and keys that repeat within the batch."""
    begin, keys, repeats = 0.0, dict[int, None](), list[int]()
    for at, key in zip(workload.at.tolist(), workload.key.tolist(), strict=True):
        if keys and (len(keys) == BATCH or at - begin > BATCH_SECONDS):
            yield begin, list(keys), repeats
            keys, repeats = {}, []
        if not keys:
            begin = at
        if key in keys:
            repeats.append(key)
        else:
            keys[key] = None
    yield begin, list(keys), repeats


def measured(workload: Workload, kind: Engine, ttl: float, memory_bytes: float | None = None) -> Measured:
    """Replay in a new engine with its own clock."""
    with tempfile.TemporaryDirectory() as folder:
        clock = EngineClock(Path(folder))
        with running_engine(kind, Path(folder), environ=clock.environ(), **SETTINGS) as engine:
            return replayed(workload, engine, clock, ttl, memory_bytes)


def assumptions(kind: Engine) -> Assumptions:
    """Assumptions for an engine as it is installed."""
    with tempfile.TemporaryDirectory() as folder, running_engine(kind, Path(folder)) as engine:
        return Assumptions(engine=kind, allocator=engine.allocator(), key_bytes=KEY_BYTES)


def pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that replay in parallel."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))


def _told(workload: Workload, kind: Engine, at: AtTtl, found: Measured) -> float:
    """Print a row; returns by how many points the prediction is too high."""
    off = 100 * (at.hit_ratio - found.hit_ratio)
    half = 50 * (at.hit_ratio_high - at.hit_ratio_low)
    peak_off = 100 * (at.peak_bytes / found.peak_bytes - 1)
    print(
        f"| {workload.name:12} | {kind:6} | {at.ttl_seconds:4.0f} "
        f"| {100 * at.hit_ratio:5.2f} | {100 * found.hit_ratio:5.2f} | {off:+5.2f} | {half:4.2f} "
        f"| {at.peak_bytes / 1e6:6.2f} | {found.peak_bytes / 1e6:6.2f} | {peak_off:+5.1f} "
        f"| {100 * found.expired_share:4.1f} |",
        flush=True,
    )
    return off


def main() -> None:
    """Print a row for each engine, workload and TTL."""
    given = engine_options(workload_options(scale=5.0), jobs=2).parse_args()
    assumed = {kind: assumptions(kind) for kind in engines(given)}
    worst = 0.0
    print("| workload | engine | TTL s | predicted % | measured % | off | interval |", end=" ")
    print("peak MB | measured MB | off % | expired % |")
    print("|---" * 11 + "|", flush=True)
    with pool(given.jobs) as processes:
        for workload in workloads(given):
            running: list[tuple[Engine, int, Future[Measured]]] = [
                (kind, place, processes.submit(measured, workload, kind, ttl))
                for kind in assumed
                for place, ttl in enumerate(TTLS)
            ]
            day = sampled_day(workload, given.rate, SECRET, SECONDS)
            by_ttl = {kind: analyze_cache_potential(day, assumed[kind], ttls=TTLS).by_ttl for kind in assumed}
            for kind, place, job in running:
                off = _told(workload, kind, by_ttl[kind][place], job.result())
                worst = max(worst, abs(off))
    print(f"worst {worst:.2f} points")
    sys.exit(worst > 0.5)


if __name__ == "__main__":
    main()
