"""Plays whole workloads through real engines, and compares with what a tenth of the keys predicted.

    python loadtest/replay.py [--engine redis|valkey] [--workload NAME] [--scale 5] [--rate 0.1] [--jobs 2]

A cache-aside loop: look, and SET with a TTL on a miss. The engine's clock is that of the workload
(`clock.py`), so that it looks for expired entries as often as on a real day. What predicts sees the sample
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
"""Different keys in one round trip at most."""
BATCH_SECONDS = 0.1
"""In one round trip at most; as often the engine looks at its timers."""
KEY_BYTES = 40
LOOK_SECONDS = 1.0
"""Between two looks at the memory."""
SETTINGS = {"latency_tracking": "no"}
"""Of the engine; the first use of a command would allocate its histogram."""
SECRET = b"secret of the load test"


@dataclass(frozen=True, slots=True)
class Measured:
    """What an engine did."""

    hit_ratio: float
    """By its own count: keyspace_hits."""
    peak_bytes: int
    """The most `used_memory`, less what it took when empty with its client connected."""
    expired_share: float
    """Of the entries, how many had expired and were still there, in the second half of the time."""
    evicted: int
    """Entries, for want of memory."""


def replayed(
    workload: Workload,
    engine: RunningEngine,
    clock: Clock,
    ttl: float,
    memory_bytes: float | None = None,
) -> Measured:
    """The whole workload through an engine that was just started.

    Args:
        workload: what to ask.
        engine: that was started with `SETTINGS`.
        clock: that it goes by.
        ttl: seconds.
        memory_bytes: for entries and hash tables; without a limit if None.
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
        raise RuntimeError(f"{len(workload.at)} were asked, {hits + misses} counted")
    return Measured(
        hits / (hits + misses),
        playing.peak - empty,
        playing.expired_share(),
        int(stats["evicted_keys"]),
    )


def _warm(pipe: Pipelined) -> None:
    """Let the engine allocate what the connection needs, before it is looked what it takes when empty."""
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
        # The length says whether it is there, counts as a hit or a miss as GET does, and sends no value back.
        self._look = [command(b"STRLEN", name) for name in names]
        self._ttl = ttl
        self._set = [b"*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n" % (len(name), name) for name in names]
        self._set_end = command(b"PX", round(1_000 * ttl)).removeprefix(b"*2\r\n")
        self._size: list[int] = workload.size.tolist()
        self._values = b"x" * max(self._size)
        self._expires: Floats = np.zeros(keys)
        self.peak = 0
        self._seen: list[tuple[int, int]] = []
        """Entries, and those of them that had not expired."""

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
        """Of all entries, in the second half of the time."""
        entries, live = np.sum(self._seen[len(self._seen) // 2 :], axis=0)
        return float(1.0 - live / entries)


def _batches(workload: Workload) -> Iterator[tuple[float, list[int], list[int]]]:
    """Time of the first, different keys, and those that come again in the same batch."""
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
    """In an engine and by a clock of its own."""
    with tempfile.TemporaryDirectory() as folder:
        clock = EngineClock(Path(folder))
        with running_engine(kind, Path(folder), environ=clock.environ(), **SETTINGS) as engine:
            return replayed(workload, engine, clock, ttl, memory_bytes)


def assumptions(kind: Engine) -> Assumptions:
    """Of an engine as it is installed."""
    with tempfile.TemporaryDirectory() as folder, running_engine(kind, Path(folder)) as engine:
        return Assumptions(engine=kind, allocator=engine.allocator(), key_bytes=KEY_BYTES)


def pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that replay side by side."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))


def _told(workload: Workload, kind: Engine, at: AtTtl, found: Measured) -> float:
    """Print a row; answers by how many points the prediction is too high."""
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
