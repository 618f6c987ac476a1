"""The memory computed for cached entries is the memory that Redis and Valkey report.

Valkey's wheel is built for glibc's malloc; with jemalloc in its place it takes what packaged ones take.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import os
from typing import NamedTuple

import numpy as np
import pytest
from components import MissingError

from otel_ratelimit.cache_advice.entry_memory import entry_bytes, table_bytes

VALUES = (10, 44, 45, 60, 100, 250, 500, 1000, 2000, 20_000)
NUMBERS = (1000, 1024, 1025, 7167, 7169, 16_384, 16_385, 57_343, 57_345, 65_536, 65_537, 100_000)
"""Redis doubles its tables after the powers of two, Valkey at seven times those: now, or at its next look."""
TOLERANCE = 0.02


class Build(NamedTuple):
    engine: object
    allocator: str


BUILDS = ["redis", "valkey", pytest.param("valkey with jemalloc", marks=pytest.mark.full)]


@contextlib.contextmanager
def started(name, running_engine):
    kind, _, preloaded = name.partition(" with ")
    environ = dict(os.environ)
    if preloaded:
        library = ctypes.util.find_library(preloaded)
        if library is None:
            raise MissingError(f"the library {preloaded}", "apt-get install libjemalloc2")
        environ["LD_PRELOAD"] = library
    settings = {"hz": 100, "enable_debug_command": "yes", "latency_tracking": "no"}
    with running_engine(kind, environ=environ, **settings) as engine:
        yield Build(engine, "jemalloc-shared" if preloaded else engine.allocator())


@pytest.fixture(scope="module", params=BUILDS)
def build(request, running_engine):
    with started(request.param, running_engine) as build:
        yield build


@pytest.fixture(params=BUILDS)
def fresh_build(request, running_engine):
    """Its allocator has no holes of earlier tests to fill."""
    with started(request.param, running_engine) as build:
        yield build


@pytest.fixture
def empty(build):
    """The memory of the engine without a key."""
    with build.engine.client() as client:
        client.execute_command("FLUSHALL", "SYNC")
    return build.engine.settled_memory()


def fill(engine, key_bytes, values, first=0):
    with engine.client() as client:
        for start in range(first, len(values), 1000):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + 1000, len(values))):
                pipeline.set(f"{number:0{key_bytes}d}", b"x" * int(values[number]), ex=86_400)
            pipeline.execute()


def predicted(build, key_bytes, values):
    entries = entry_bytes(build.engine.kind, key_bytes, values, allocator=build.allocator).sum()
    return entries + table_bytes(build.engine.kind, len(values), allocator=build.allocator)


@pytest.mark.untraced
@pytest.mark.parametrize("key_bytes", [24, 40, 60])
@pytest.mark.parametrize("value_bytes", VALUES)
def test_values_of_one_size(build, empty, key_bytes, value_bytes):
    values = np.full(2000, value_bytes)
    fill(build.engine, key_bytes, values)
    measured = build.engine.settled_memory() - empty
    assert predicted(build, key_bytes, values) == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.parametrize("key_bytes", [24, 40, 60])
def test_values_of_many_sizes(build, empty, key_bytes):
    values = np.geomspace(10, 20_000, 4000).astype(np.int64)
    np.random.default_rng(1).shuffle(values)
    fill(build.engine, key_bytes, values)
    measured = build.engine.settled_memory() - empty
    assert predicted(build, key_bytes, values) == pytest.approx(measured, rel=TOLERANCE)


@pytest.mark.full
@pytest.mark.untraced
def test_numbers_of_keys_on_both_sides_of_a_doubling(build, empty):
    there = 0
    found = {}
    for number in NUMBERS:
        values = np.full(number, 100)
        fill(build.engine, 24, values, first=there)
        there = number
        measured = build.engine.settled_memory() - empty
        found[number] = (predicted(build, 24, values) / number, measured / number)
    wrong = {n: pair for n, pair in found.items() if abs(pair[0] / pair[1] - 1) > TOLERANCE}
    assert not wrong, found


def test_a_doubling_takes_what_the_tables_say(fresh_build):
    engine = fresh_build.engine
    before, after = (16_384, 16_385) if engine.kind == "redis" else (14_335, 14_337)
    fill(engine, 24, np.full(before, 10))
    filled = engine.settled_memory()
    fill(engine, 24, np.full(after, 10), first=before)
    grown = engine.settled_memory() - filled
    tables = table_bytes(engine.kind, np.array([before, after]), allocator=fresh_build.allocator)
    assert np.diff(tables)[0] == pytest.approx(grown, rel=0.05)
