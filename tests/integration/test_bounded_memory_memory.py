"""The budget against what the process really takes, each measurement in a process of its own."""

import json
import subprocess
import sys

import pytest

MEASURE = """
import gc, json, sys, tracemalloc

import psutil

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage

face, strategy, capacity, tool, *checkpoints = sys.argv[1:]
checkpoints = [int(checkpoint) for checkpoint in checkpoints]
storage = BoundedMemoryStorage(capacity=capacity, cleanup_interval=3600)
counters = storage.counters
window = Window(f"app|ep|86400|{strategy}|", 5, 86400, Strategy(strategy), False, "", "")
# Clients of many networks, so that one network cannot keep the others out.
client = lambda n: f"i{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
address = lambda n: f"{n % 200}.{n // 200 % 200}.{n // 40_000 % 200}.{n // 8_000_000}"
key = lambda n: f"LIMITER/{address(n)}/some.endpoint/5/1/day"
hit = {
    "take": lambda n: counters.take((window,), client(n), 1, 1.7e9 + n / 1e4),
    "fixed-window": lambda n: storage.incr(key(n), 86400),
    "moving-window": lambda n: storage.acquire_entry(key(n), 5, 86400),
    "sliding-window-counter": lambda n: storage.acquire_sliding_window_entry(key(n), 5, 86400),
}["take" if face == "take" else strategy]

for n in range(10):  # everything that is made once
    hit(n)
storage.reset()
# Use up what the interpreter has at hand, or the first megabyte would seem to cost nothing.
ballast = [bytes(size) for size in range(16, 500, 8) for _ in range(1000)]
ballast += [bytes(size) for size in range(600, 40_000, 400) for _ in range(3)]
gc.collect()
if tool == "tracemalloc":
    tracemalloc.start()
    grown = lambda: tracemalloc.get_traced_memory()[0]
else:
    grown = lambda: psutil.Process().memory_info().rss
found, before, highest, budget = [], grown(), 0, 0
for n in range(1, checkpoints[-1] + 1):
    hit(n)
    if n % 5000 == 0:
        highest = max(highest, grown() - before)
        budget = max(budget, counters.budget.used)
    if n in checkpoints:
        keys = storage.snapshot().keys
        found.append({"keys": keys, "accounted": counters.budget.used, "real": grown() - before})
print(json.dumps({"checkpoints": found, "highest_accounted": budget, "highest_real": highest}))
"""


def measure(face, strategy, capacity, *checkpoints, tools):
    """The findings of each tool; the processes run at the same time."""
    arguments = [sys.executable, "-c", MEASURE, face, strategy, capacity]
    counts = [str(checkpoint) for checkpoint in checkpoints]
    processes = [
        subprocess.Popen(
            [*arguments, tool, *counts], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for tool in tools
    ]
    answers = [process.communicate(timeout=110) for process in processes]
    assert not any(process.returncode for process in processes), answers
    return [json.loads(answer) for answer, _ in answers]


@pytest.mark.full
@pytest.mark.untraced
@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter", "moving-window"])
@pytest.mark.parametrize("face", ["take", "limits"])
def test_the_memory_in_use_is_what_the_process_grows_by(face, strategy):
    tools = ["tracemalloc", "rss"] if face == "take" else ["rss"]

    for found in measure(face, strategy, "50MB", 10_000, 100_000, tools=tools):
        for checkpoint in found["checkpoints"]:
            assert checkpoint["keys"] in {10_000, 100_000}
            assert 0.9 <= checkpoint["accounted"] / checkpoint["real"] <= 1.25, (tools, checkpoint)


@pytest.mark.full
@pytest.mark.untraced
@pytest.mark.parametrize(("face", "keys"), [("take", 1_000_000), ("limits", 300_000)])
def test_a_flood_of_distinct_keys_never_takes_more_than_the_capacity(face, keys):
    (found,) = measure(face, "fixed-window", "2MB", keys, tools=["rss"])

    assert found["checkpoints"][0]["keys"] > 10_000
    assert found["highest_accounted"] <= 2_000_000
    assert found["highest_real"] <= 2_000_000, found


def test_a_fixed_window_takes_well_under_200_bytes_a_key():
    (found,) = measure("take", "fixed-window", "50MB", 100_000, tools=["rss"])

    assert found["checkpoints"][0]["real"] < 150 * 100_000
