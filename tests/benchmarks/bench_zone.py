"""The zone of shared memory against its peers in one process: `limits`' memory store, and our in-process one.

    python tests/benchmarks/bench_zone.py [--keys 300000] [--hits 1000000] [--repeats 9] [--json FILE]

The stores take turns, batch after batch, and processor time is compared, so that noise falls on all alike.
Each store has a process of its own, because the thread of `limits`' store would burden the others.
Figures are medians over the repeats; in brackets is the middle half. `bench_zone_processes.py` measures what
needs several processes.
"""

from __future__ import annotations

import argparse
import gc
import json
import mmap
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench_storage import client
from limits import RateLimitItemPerDay
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.zone import head, limits_adapter
from otel_ratelimit.storage.zone.layout import BUCKET_BYTES, SLOT_BYTES
from otel_ratelimit.storage.zone.opened import Zone, prepare
from otel_ratelimit.storage.zone.store import ZoneStore
from otel_ratelimit.storage.zone.sweeper import ZoneSweeper

MB = 1_000_000
BATCH = 5_000
LIVE = 300_000
ASKED = {"take": 4.0, "slowest_ms": 1.0, "bytes": 64.0}
TAKE = "`take`, a fixed window, {:,} live keys"
ITEM = RateLimitItemPerDay(1_000_000_000)
SCHEMES = (limits_adapter.SharedMemoryStorage, BoundedMemoryStorage)
"""Their import registers their schemes."""

Batch = Callable[[Sequence[str]], float]


def new_zone(size: int = 50 * MB) -> ZoneStore:
    memory = mmap.mmap(-1, size)
    prepare(memory, size, "mutex", time.time())
    return ZoneStore(Zone(memory, size, "mutex"))


def windows(number: int, amount: int = 1_000_000_000, strategy: str = Strategy.FIXED_WINDOW) -> list[Window]:
    return [
        Window(f"a|endpoint|{seconds}|{strategy}|", amount, seconds, Strategy(strategy), False, "", "")
        for seconds in (3600, 86_400)[:number]
    ]


def taking(store: Any, plan: list[Window], at: float) -> Batch:
    """Microseconds of processor time for each hit of a batch."""

    def run(clients: Sequence[str]) -> float:
        take = store.take
        begun = time.process_time()
        for one in clients:
            take(plan, one, 1, at)
        return (time.process_time() - begun) / len(clients) * 1e6

    return run


def hitting(storage: Storage) -> Batch:
    """The same through `limits`."""
    limiter = FixedWindowRateLimiter(storage)

    def run(clients: Sequence[str]) -> float:
        hit = limiter.hit
        begun = time.process_time()
        for one in clients:
            hit(ITEM, one, "endpoint")
        return (time.process_time() - begun) / len(clients) * 1e6

    return run


class Apart:
    """A store in a process of its own: a forked child, which makes it and runs the batches that it gets."""

    def __init__(self, make: Callable[[], Batch], filled_with: Sequence[str] = ()) -> None:
        self._mine, theirs = Pipe()
        self._child = os.fork()
        if self._child == 0:
            self._mine.close()
            try:
                serve(theirs, make(), filled_with)
            finally:
                os._exit(0)
        theirs.close()
        self._mine.recv()

    def __call__(self, clients: Sequence[str]) -> float:
        self._mine.send(clients)
        took: float = self._mine.recv()
        return took

    def close(self) -> None:
        self._mine.send(None)
        os.waitpid(self._child, 0)


def serve(parent: Connection, run: Batch, filled_with: Sequence[str]) -> None:
    if filled_with:
        run(filled_with)
    gc.collect()
    gc.freeze()
    parent.send(None)
    while clients := parent.recv():
        parent.send(run(clients))


def in_turn(ours: Batch, theirs: Batch, batches: Iterator[Sequence[str]]) -> dict[str, float]:
    return spread([(ours(batch), theirs(batch)) for batch in batches])


def spread(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of both, and how many times as many hits a second ours does."""
    found = [theirs / ours for ours, theirs in pairs]
    low, _, high = statistics.quantiles(found, n=4)
    return {
        "ours_us": statistics.median(ours for ours, _ in pairs),
        "theirs_us": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(found),
        "low": low,
        "high": high,
    }


def choices(clients: list[str], repeats: int) -> Iterator[Sequence[str]]:
    chosen = random.Random(1)
    return (chosen.choices(clients, k=BATCH) for _ in range(repeats))


def new_ones(repeats: int) -> Iterator[Sequence[str]]:
    return ([client(n * BATCH + index) for index in range(BATCH)] for n in range(1000, 1000 + repeats))


# --- measurements: (title, peer, figures) ---------------------------------------------------------


def against_memory(keys: int, repeats: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    now, all_clients = time.time(), [client(n) for n in range(keys)]
    for count in (1_000, keys):
        clients = all_clients[:count]
        stores = zone, memory, bounded, shared = (
            Apart(lambda: taking(new_zone(), windows(1), now), clients),
            Apart(lambda: hitting(MemoryStorage()), clients),
            Apart(lambda: hitting(storage_from_string("bounded-memory://", capacity="500MB")), clients),
            Apart(lambda: hitting(storage_from_string("shared-memory://")), clients),
        )
        yield TAKE.format(count), "hit on `memory://`", in_turn(zone, memory, choices(clients, repeats))
        title = f"hit on `shared-memory://`, {count:,} live keys"
        for peer, run in (("memory", memory), ("bounded-memory", bounded)):
            yield title, f"hit on `{peer}://`", in_turn(shared, run, choices(clients, repeats))
        for each in stores:
            each.close()


def against_in_process(repeats: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    clients, now = [client(n) for n in range(1000)], time.time()
    for strategy in (Strategy.FIXED_WINDOW, Strategy.SLIDING_WINDOW_COUNTER, Strategy.TOKEN_BUCKET):
        for number in (1, 2):
            plan = windows(number, strategy=strategy)
            pair = taking(new_zone(), plan, now), taking(BoundedMemoryStore(500 * MB), plan, now)
            for run in pair:
                run(clients)
            yield f"`take`, {number} {strategy}", "in process", in_turn(*pair, choices(clients, repeats))
    for number in (1, 2):
        plan = windows(number)
        pair = taking(new_zone(), plan, now), taking(BoundedMemoryStore(500 * MB), plan, now)
        yield f"... a new client, {number} fixed-window", "in process", in_turn(*pair, new_ones(repeats))


def slowest(hits: int) -> dict[str, float]:
    """The longest hits, in processor time of their thread, while another thread sweeps without a pause.

    Half of the hits are of new clients. Counters expire all the time, because a hit is a second of the clock.
    `idle_ms` is the longest of as many pieces of other work: what the machine adds.
    """
    now = [1e9]
    store = new_zone()
    store.clock = lambda: now[0]
    plan = windows(2)
    known = [client(n) for n in range(1000)]
    sweeper = ZoneSweeper(store, 60, timer=time.thread_time, rest=lambda _: None)
    ended, pauses = threading.Event(), []

    def sweep() -> None:
        while not ended.is_set():
            pauses.append(sweeper.sweep().longest_pause_seconds)

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    longest, idle, clock = [0.0] * 3, 0.0, time.thread_time
    gc.collect()
    gc.freeze()
    for n in range(hits):
        one = client(10_000_000 + n) if n & 1 else known[n % 1000]
        now[0] += 1
        begun = clock()
        store.take(plan, one, 1, now[0])
        took = clock() - begun
        if took > longest[0]:
            longest = sorted([took, *longest[1:]])
        begun = clock()
        sum(range(600))
        idle = max(idle, clock() - begun)
    ended.set()
    sweeping.join()
    return {
        "slowest_ms": longest[-1] * 1e3,
        "third_ms": longest[0] * 1e3,
        "idle_ms": idle * 1e3,
        "sweep_ms": max(pauses) * 1e3,
    }


def shared_bytes() -> int:
    """The proportional share of this process in all memory (proc(5), PSS)."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def bytes_of_a_counter() -> float:
    store = new_zone()
    layout = store.zone.layout
    wanted = layout.buckets * BUCKET_BYTES // SLOT_BYTES * 80 // 100
    plan, now = windows(1), time.time()
    before, number = shared_bytes(), 0
    while store.zone.figure(head.USED_AT) < wanted:
        store.take(plan, client(number), 1, now)
        number += 1
    return (shared_bytes() - before) / wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=LIVE, help="live keys")
    parser.add_argument("--hits", type=int, default=1_000_000, help="hits of which the slowest is shown")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    print("| hits in one process | zone | peer | hits a second, zone / peer |\n|-|-|-|-|")
    each = chain(against_memory(options.keys, options.repeats), against_in_process(options.repeats))
    for title, peer, found in each:
        figures[f"{title}, {peer}"] = found
        ratio = f"{found['ratio']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
        asked = (
            f", asked: {ASKED['take']:.0f}" if title == f"`take`, a fixed window, {LIVE:,} live keys" else ""
        )
        ours, theirs = f"{found['ours_us']:.2f} µs", f"{peer}: {found['theirs_us']:.2f} µs"
        print(f"| {title} | {ours} | {theirs} | {ratio}{asked} |", flush=True)
    size = figures["bytes_of_a_counter"] = bytes_of_a_counter()
    print(
        f"| memory of a live counter, 80 % of the slots used | {size:.1f} B | |"
        f" asked: {ASKED['bytes']:.0f} B |"
    )
    found = figures["slowest"] = slowest(options.hits)
    title = f"slowest of {options.hits:,} hits, half of them new, during sweeps, processor time"
    ours = f"{found['slowest_ms']:.2f} ms, third: {found['third_ms']:.2f} ms"
    print(
        f"| {title} | {ours} | without the store: {found['idle_ms']:.2f} ms |"
        f" asked: {ASKED['slowest_ms']:.0f} ms |"
    )
    print(f"| ... longest step of a sweep | {found['sweep_ms']:.2f} ms | | |")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
