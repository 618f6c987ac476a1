"""A workload through the query log and the analysis, and the same one through real engines.

`loadtest/replay.py` does this with whole workloads; here are a quarter of the keys of two of them.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from otel_ratelimit.analysis.cache.analyse import analyze_cache_potential
from otel_ratelimit.analysis.cache.assumptions import Assumptions

LOADTEST = Path(__file__).parents[2] / "loadtest"
TTL = 600
SPEED = 600.0
POINTS = 0.005


@pytest.fixture(scope="module")
def load():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(LOADTEST)
        yield {name: importlib.import_module(name) for name in ("workloads", "sampled", "replay")}


def quarter(workload):
    chosen = workload.key % 4 == 1
    return replace(
        workload,
        at=workload.at[chosen],
        key=workload.key[chosen],
        duration_us=workload.duration_us[chosen],
    )


@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("name", ["steep", "bursts"])
def test_what_is_predicted_is_what_an_engine_counts(load, running_engine, kind, name):
    workloads, sampled, replay = load["workloads"], load["sampled"], load["replay"]
    workload = quarter(getattr(workloads, name)())
    everything, tenth = (
        sampled.sampled_day(workload, rate, b"secret of the test", workloads.SECONDS) for rate in (1.0, 0.1)
    )
    with running_engine(kind, hz="500", enable_debug_command="yes", latency_tracking="no") as engine:
        assumed = Assumptions(engine=kind, allocator=engine.allocator(), key_bytes=replay.KEY_BYTES)
        measured = replay.replayed(workload, engine, TTL, SPEED)

    [of_everything] = analyze_cache_potential(everything, assumed, ttls=(TTL,)).by_ttl
    [of_tenth] = analyze_cache_potential(tenth, assumed, ttls=(TTL,)).by_ttl

    assert of_everything.hit_ratio == pytest.approx(measured.hit_ratio, abs=POINTS)
    assert of_tenth.hit_ratio_low - POINTS < measured.hit_ratio < of_tenth.hit_ratio_high + POINTS
