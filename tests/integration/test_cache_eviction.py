"""A cache with too little memory is simulated as Redis and Valkey evict; an exact LRU is not what they do."""

from __future__ import annotations

import time
from collections import OrderedDict

import numpy as np
import pytest

from otel_ratelimit.cache_advice.entry_memory import entry_bytes, table_bytes
from otel_ratelimit.cache_advice.eviction import simulated_hit_ratio
from otel_ratelimit.cache_advice.replay_trace import Trace

REQUESTS = 40_000
KEYS = 6_000
KEY_BYTES = 24
VALUE_BYTES = 700
POINTS = 0.02
TRIES = 6


def skewed():
    draw = np.random.default_rng(5)
    weights = np.cumsum(1.0 / np.arange(1, KEYS + 1) ** 0.8)
    return np.searchsorted(weights, draw.random(REQUESTS) * weights[-1])


def looped():
    """Most ask at random, and one goes through everything again and again."""
    keys = skewed()
    is_loop = np.random.default_rng(6).random(REQUESTS) < 0.3
    keys[is_loop] = np.arange(int(is_loop.sum())) * 3 % KEYS
    return keys


def played(engine, keys):
    """Share of hits, and when each request was, seconds."""
    at, hits = np.zeros(len(keys)), 0
    value = b"x" * VALUE_BYTES
    with engine.client() as client:
        client.config_resetstat()
        _, microseconds = client.time()
        # Which second of the engine's clock an entry was used in is all that it knows.
        begun = time.perf_counter() - microseconds / 1e6
        for place, key in enumerate(keys.tolist()):
            at[place] = time.perf_counter() - begun
            name = f"{key:0{KEY_BYTES}d}"
            if client.strlen(name):
                hits += 1
            else:
                client.set(name, value, ex=10_000)
        stats = client.info("stats")
    assert stats["keyspace_hits"] == hits
    assert stats["evicted_keys"] > 0
    return hits / len(keys), at


def exact_lru(keys, entries):
    kept, hits = OrderedDict(), 0
    for key in keys.tolist():
        if key in kept:
            hits += 1
            kept.move_to_end(key)
        else:
            kept[key] = True
            if len(kept) > entries:
                kept.popitem(last=False)
    return hits / len(keys)


def compared(running_engine, kind, keys, share):
    """Shares of hits in the simulation, in the engine, and with an exact LRU."""
    with running_engine(kind, enable_debug_command="yes", latency_tracking="no") as engine:
        allocator, empty = engine.allocator(), engine.settled_memory()
        one = float(entry_bytes(kind, KEY_BYTES, np.array([VALUE_BYTES]), allocator=allocator)[0])
        entries = int(KEYS * share)
        memory = entries * one + table_bytes(kind, entries, allocator=allocator)
        # A client's buffers count, too.
        with engine.client() as client:
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", int(max(used, empty) + memory))
        measured, at = played(engine, keys)
    part = table_bytes(kind, entries, allocator=allocator) / entries
    trace = Trace(at, keys, np.ones(REQUESTS, dtype=np.int64), np.ones(KEYS), np.full(KEYS, one + part))
    return simulated_hit_ratio(trace, 10_000, memory), measured, exact_lru(keys, entries)


@pytest.mark.full
@pytest.mark.untraced
@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("workload", [skewed, looped])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_hit_ratio_with_limited_memory_is_that_of_the_engine(running_engine, kind, workload, share):
    keys = workload()
    # An engine goes by its own clock, which stumbles where other programs take the processor.
    for _ in range(TRIES):
        found, measured, of_exact_lru = compared(running_engine, kind, keys, share)
        if abs(found - measured) < POINTS:
            break

    assert found == pytest.approx(measured, abs=POINTS)
    assert max(abs(of_exact_lru - measured), POINTS) > abs(found - measured)


def test_without_a_limit_only_the_ttl_counts():
    trace = Trace(
        np.array([0.0, 5.0, 9.0, 20.0, 25.0, 70.0]),
        *(np.zeros(6, dtype=np.int64), np.ones(6, dtype=np.int64)),
        *(np.ones(1), np.ones(1)),
    )
    assert simulated_hit_ratio(trace, 10.0, float("inf")) == pytest.approx(3 / 6)
    assert simulated_hit_ratio(trace, 60.0, float("inf")) == pytest.approx(4 / 6)


def test_with_next_to_no_memory_only_the_last_is_kept():
    keys = skewed()
    trace = Trace(
        np.arange(REQUESTS) / 100.0,
        *(keys, np.ones(REQUESTS, dtype=np.int64)),
        *(np.ones(KEYS), np.ones(KEYS)),
    )
    assert simulated_hit_ratio(trace, 10_000, 0.5) == pytest.approx(np.mean(keys[1:] == keys[:-1]), rel=0.001)


def test_keys_that_stand_for_others_take_their_memory():
    keys = skewed()
    at, n = np.arange(REQUESTS) / 100.0, np.ones(REQUESTS, dtype=np.int64)
    whole = simulated_hit_ratio(Trace(at, keys, n, np.ones(KEYS), np.ones(KEYS)), 10_000, 0.3 * KEYS)
    sampled = keys % 10 == 3
    tenth = Trace(at[sampled], keys[sampled], n[sampled], np.full(KEYS, 10.0), np.ones(KEYS))
    assert simulated_hit_ratio(tenth, 10_000, 0.3 * KEYS) == pytest.approx(whole, abs=0.03)
