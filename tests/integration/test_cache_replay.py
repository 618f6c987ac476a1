"""Workloads through the query log and the analysis, and the same ones through real engines.

`loadtest/replay.py` and `loadtest/bounded.py` do this with larger ones, and with more of them.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np
import pytest

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.expired_entries import uncollected
from otel_ratelimit.cache_advice.hit_ratio_surface import hit_ratios_with_memory

LOADTEST = Path(__file__).parents[2] / "loadtest"
TTL = 600
SCALE = 0.3
POINTS = 0.005
BOUNDED_POINTS = 0.02

pytestmark = [pytest.mark.full, pytest.mark.untraced]


@pytest.fixture(scope="module")
def load():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(LOADTEST)
        names = ("workloads", "sampled", "clock", "replay", "bounded", "expired")
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def day(load):
    """A workload's day, as it is kept at a rate."""

    @functools.cache
    def made(name, rate):
        workloads, sampled = load["workloads"], load["sampled"]
        workload = getattr(workloads, name)(SCALE)
        secret = b"secret of the test"
        return sampled.sampled_day(workload, rate, secret, workloads.SECONDS, processes=1)

    return made


@pytest.fixture
def replayed(load, running_engine, tmp_path):
    """A workload in an engine that goes by the workload's clock."""
    clock = load["clock"].EngineClock(tmp_path)

    def play(kind, workload, ttl, memory_bytes=None):
        replay = load["replay"]
        with running_engine(kind, environ=clock.environ(), **replay.SETTINGS) as engine:
            return replay.replayed(workload, engine, clock, ttl, memory_bytes)

    return play


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", ["steep", "bursts"])
def test_what_is_predicted_is_what_an_engine_counts(load, day, replayed, kind, name):
    measured = replayed(kind, getattr(load["workloads"], name)(SCALE), TTL)
    assumed = load["replay"].assumptions(kind)

    [of_everything] = analyze_cache_potential(day(name, 1.0), assumed, ttls=(TTL,)).by_ttl
    [of_tenth] = analyze_cache_potential(day(name, 0.1), assumed, ttls=(TTL,)).by_ttl

    assert of_everything.hit_ratio == pytest.approx(measured.hit_ratio, abs=POINTS)
    assert of_tenth.hit_ratio_low - POINTS < measured.hit_ratio < of_tenth.hit_ratio_high + POINTS
    assert of_everything.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.05)
    # Some 400 of the sampled keys live at a time, of very unlike sizes.
    assert of_tenth.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.2)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", ["steep", "bursts"])
def test_what_a_tenth_of_the_keys_predicts_of_too_little_memory_is_what_an_engine_does(
    load, day, replayed, kind, name
):
    assumed = load["replay"].assumptions(kind)
    [at] = analyze_cache_potential(day(name, 0.1), assumed, ttls=(TTL,)).by_ttl
    memory_bytes = at.peak_bytes / 2
    measured = replayed(kind, getattr(load["workloads"], name)(SCALE), TTL, memory_bytes)

    trace = load["bounded"].trace_of(day(name, 0.1), assumed)
    [predicted] = hit_ratios_with_memory(trace, at, [memory_bytes], assumed)

    assert measured.evicted > 1_000
    assert predicted == pytest.approx(measured.hit_ratio, abs=BOUNDED_POINTS)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_as_many_expired_entries_are_left_as_the_sweep_is_predicted_to_leave(load, replayed, kind):
    reads_a_second, ttl, seconds = 1_000, 20, int(load["expired"].SECONDS)
    measured = replayed(kind, load["expired"].even(reads_a_second, ttl), ttl)
    filled = reads_a_second * (1.0 - measured.hit_ratio)
    at = np.arange(1.0, seconds + 1.0)
    live = filled * np.minimum(at, ttl)

    left = uncollected(kind, live, np.where(at > ttl, filled, 0.0))

    half = slice(seconds // 2, None)
    predicted = left[half].sum() / (left + live)[half].sum()
    assert measured.expired_share > 0.08
    assert predicted == pytest.approx(measured.expired_share, abs=0.02)
