"""The bounded store against `limits`' own memory store, on one machine in one run.

    python tests/benchmarks/bench_storage.py [--keys 10,1000,300000] [--distinct 10000000] [--json FILE]

Every measurement is a process of its own, the two stores in turn, so that neither's threads and memory
burden the other. Ratios are medians over the repeats; in brackets the lowest and the highest.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from limits import RateLimitItemPerDay
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage
from otel_ratelimit.storage.sweeper import Sweeper

OURS, THEIRS = "bounded-memory", "memory"
HITS = 100_000
LIVE = 1_000
ITEM = RateLimitItemPerDay(1_000_000)


def new_store(which: str, **options: Any) -> Storage:
    return storage_from_string(f"{OURS}://", **options) if which == OURS else MemoryStorage()


def address(n: int) -> str:
    return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def client(n: int) -> str:
    return f"i{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def filled(which: str, keys: int) -> tuple[FixedWindowRateLimiter, list[str]]:
    limiter = FixedWindowRateLimiter(new_store(which, capacity="500MB"))
    who = [address(n) for n in range(keys)]
    for one in who:
        limiter.hit(ITEM, one, "endpoint")
    return limiter, who


def background_cpu_seconds() -> float:
    """Processor time of all threads but this one, those that have ended included."""
    return time.process_time() - time.thread_time()


# --- one measurement each; run in a process of its own -------------------------------------------


def measure_hits(which: str, keys: int) -> dict[str, float]:
    limiter, who = filled(which, keys)
    picked = random.Random(1).choices(who, k=HITS)
    begun = time.perf_counter()
    for one in picked:
        limiter.hit(ITEM, one, "endpoint")
    return {"us": (time.perf_counter() - begun) / HITS * 1e6}


def measure_decisions(which: str, keys: int) -> dict[str, float]:
    """A hit and what response headers need: how much is left, and until when."""
    limiter, who = filled(which, keys)
    picked = random.Random(1).choices(who, k=HITS)
    begun = time.perf_counter()
    for one in picked:
        limiter.hit(ITEM, one, "endpoint")
        limiter.get_window_stats(ITEM, one, "endpoint")
    return {"us": (time.perf_counter() - begun) / HITS * 1e6}


def measure_take(strategy: str, windows: int, keys: int) -> dict[str, float]:
    counters = BoundedMemoryStorage(capacity="500MB").counters
    amount = 20 if strategy == Strategy.MOVING_WINDOW else 1_000_000
    plan = [
        Window(f"a|endpoint|{seconds}|{strategy}|", amount, seconds, Strategy(strategy), False, "", "")
        for seconds in (60, 3600)[:windows]
    ]
    who = [client(n) for n in range(keys)]
    now = time.time()
    for one in who:
        counters.take(plan, one, 1, now)
    picked = random.Random(1).choices(who, k=HITS)
    begun = time.perf_counter()
    for one in picked:
        counters.take(plan, one, 1, now)
    return {"us": (time.perf_counter() - begun) / HITS * 1e6}


def measure_memory(which: str, keys: int) -> dict[str, float]:
    who = [address(n) for n in range(keys)]
    limiter = FixedWindowRateLimiter(new_store(which, capacity="500MB"))
    before = resident()
    for one in who:
        limiter.hit(ITEM, one, "endpoint")
    return {"bytes": (resident() - before) / keys}


def measure_background(which: str, keys: int) -> dict[str, float]:
    limiter, who = filled(which, keys)
    seconds = 5.0
    time.sleep(0.5)
    before = background_cpu_seconds()
    time.sleep(seconds)
    idle = background_cpu_seconds() - before
    before, begun, hits = background_cpu_seconds(), time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        if hits < passed * 1000:
            limiter.hit(ITEM, who[hits % keys], "endpoint")
            hits += 1
        else:
            time.sleep(0.0005)
    under_hits = background_cpu_seconds() - before
    return {"idle": max(0.0, idle / seconds), "under_hits": max(0.0, under_hits / seconds)}


def measure_pauses(which: str, keys: int) -> dict[str, float]:
    limiter = FixedWindowRateLimiter(new_store(which, capacity="500MB", cleanup_interval=1))
    took = array("d")  # a list would be visited by the garbage collector in the middle of it
    for n in range(keys):
        one = address(n)
        begun = time.perf_counter()
        limiter.hit(ITEM, one, "endpoint")
        took.append(time.perf_counter() - begun)
    ranked = sorted(took)
    return {"p50": ranked[keys // 2] * 1e6, "p999": ranked[keys * 999 // 1000] * 1e6, "max": ranked[-1] * 1e6}


def measure_sweep(keys: int) -> dict[str, float]:
    """Once by the clock, once by the processor's: other processes lengthen the former."""
    found = {"keys": float(keys)}
    for name, timer in (("wall", time.perf_counter), ("cpu", time.thread_time)):
        now = [time.time()]
        counters = BoundedMemoryStore(500_000_000, clock=lambda now=now: now[0])
        window = Window("a|endpoint|60|fixed-window|", 5, 60, Strategy.FIXED_WINDOW, False, "", "")
        for n in range(keys):
            counters.take([window], client(n), 1, now[0])
        now[0] += 60
        swept = Sweeper(counters, 60, timer=timer).sweep()
        found[f"{name}_ms"] = swept.duration_seconds * 1e3
        found[f"{name}_longest_pause_us"] = swept.longest_pause_seconds * 1e6
    return found


def measure_distinct(distinct: int) -> dict[str, float]:
    storage = BoundedMemoryStorage()
    counters = storage.counters
    window = Window("a|endpoint|86400|fixed-window|", 5, 86_400, Strategy.FIXED_WINDOW, False, "", "")
    plan = (window,)
    before, begun = resident(), time.perf_counter()
    accounted = grown = 0
    for n in range(LIVE):
        counters.take(plan, client(n), 1 + n % 5, time.time())
    for n in range(LIVE, LIVE + distinct):
        counters.take(plan, client(n), 1, time.time())
        if n % 20_000 == 0:
            accounted = max(accounted, counters.budget.used)
            grown = max(grown, psutil.Process().memory_info().rss - before)
    took = time.perf_counter() - begun
    used = [counters.peek(plan, client(n), 0, time.time()).states[0].used for n in range(LIVE)]
    return {
        "accounted": accounted,
        "rss": grown,
        "capacity": storage.snapshot().capacity_bytes or 0,
        "keys": storage.snapshot().keys,
        "overflows": storage.snapshot().overflows,
        "live_kept": sum(found == 1 + n % 5 for n, found in enumerate(used)),
        "us": took / distinct * 1e6,
    }


MEASUREMENTS: dict[str, Callable[..., dict[str, float]]] = {
    "hits": measure_hits,
    "decisions": measure_decisions,
    "take": measure_take,
    "memory": measure_memory,
    "background": measure_background,
    "pauses": measure_pauses,
    "sweep": measure_sweep,
    "distinct": measure_distinct,
}


# --- all of them, and the table -------------------------------------------------------------------


def run(name: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", json.dumps([name, *arguments])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def in_turn(name: str, keys: int, repeats: int) -> dict[str, Any]:
    pairs = [(run(name, OURS, keys)["us"], run(name, THEIRS, keys)["us"]) for _ in range(repeats)]
    found = [theirs / ours for ours, theirs in pairs]
    return {
        "ours_us": statistics.median(ours for ours, _ in pairs),
        "theirs_us": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(found),
        "lowest": min(found),
        "highest": max(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", default="10,1000,300000", help="numbers of live keys, comma-separated")
    parser.add_argument("--distinct", type=int, default=10_000_000, help="distinct keys thrown at the store")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = json.loads(options.measure)
        print(json.dumps(MEASUREMENTS[name](*arguments)))
        return
    figures: dict[str, Any] = {}
    for line in report(options, figures):
        print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def report(options: argparse.Namespace, figures: dict[str, Any]) -> Iterator[str]:
    """The table's lines as they become known; fills `figures`."""
    keys = [int(count) for count in options.keys.split(",")]
    yield "| | bounded-memory | limits' memory | ratio |"
    yield "|-|-|-|-|"
    for name, title in (("hits", "fixed-window hit through `limits`"), ("decisions", "... and its state")):
        for count in keys:
            found = figures[f"{name}_{count}"] = in_turn(name, count, options.repeats)
            spread = f"{found['ratio']:.2f} [{found['lowest']:.2f}, {found['highest']:.2f}]"
            ours, theirs = f"{found['ours_us']:.2f} µs", f"{found['theirs_us']:.2f} µs"
            yield f"| {title}, {count:,} live keys | {ours} | {theirs} | {spread} |"
    yield from side_by_side(max(keys), figures)
    yield from alone(max(keys), options.distinct, figures)


def side_by_side(keys: int, figures: dict[str, Any]) -> Iterator[str]:
    for name, unit, scale, titles in (
        ("memory", "B", 1, {"bytes": "memory per key"}),
        (
            "background",
            "%",
            100,
            {"idle": "background CPU, idle", "under_hits": "background CPU, 1,000 hits/s"},
        ),
        ("pauses", "µs", 1, {"p50": "hit on a new key, median", "p999": "... p99.9", "max": "... longest"}),
    ):
        ours, theirs = (run(name, which, keys) for which in (OURS, THEIRS))
        figures[name] = {"ours": ours, "theirs": theirs}
        for key, title in titles.items():
            mine, peer = ours[key] * scale, theirs[key] * scale
            ratio = f"{peer / mine:.2f}" if mine >= 0.01 else ""
            yield f"| {title}, {keys:,} keys | {mine:.2f} {unit} | {peer:.2f} {unit} | {ratio} |"


def alone(keys: int, distinct: int, figures: dict[str, Any]) -> Iterator[str]:
    for strategy in Strategy:
        for windows in (1, 2):
            hot, cold = (run("take", strategy, windows, count)["us"] for count in (1000, keys))
            figures[f"take_{strategy}_{windows}"] = {"hot_us": hot, "cold_us": cold}
            title = f"`take`, {windows} {strategy}, 1,000 / {keys:,} clients"
            yield f"| {title} | {hot:.2f} / {cold:.2f} µs | | |"
    sweep = figures["sweep"] = run("sweep", keys)
    for name, title in (("wall", "by the clock"), ("cpu", "processor time")):
        total, longest = sweep[f"{name}_ms"], sweep[f"{name}_longest_pause_us"]
        yield f"| sweep of {keys:,}, {title}: in all, longest pause | {total:.0f} ms, {longest:.0f} µs | | |"
    flood = figures["distinct"] = run("distinct", distinct)
    accounted, rss, capacity = (flood[key] / 1e6 for key in ("accounted", "rss", "capacity"))
    title = f"{distinct:,} distinct keys, capacity {capacity:.0f} MB: most accounted, RSS"
    yield f"| {title} | {accounted:.1f} MB, {rss:.1f} MB | | |"
    kept = f"{flood['live_kept']:.0f} of {LIVE}, {flood['keys']:,.0f}, {flood['us']:.1f} µs"
    yield f"| ... live counters kept, keys held, time of a hit | {kept} | | |"


if __name__ == "__main__":
    main()
