"""A cache never holds more entries than keys, nor less for longer; each template has a peak of its own."""

from __future__ import annotations

import random
from datetime import timedelta

import numpy as np
import pytest
from memory_day import QueryRowsDay
from query_rows import START, query_row, read_template

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.entry_memory import entry_bytes
from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.replay_trace import TraceSample
from otel_ratelimit.cache_advice.template_peak_memory import Peaks
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.core.periods import Period

TTLS = (1, 2, 5, 10, 60, 600, 3_600)
SECONDS = 3_600


def executions(template, keys, moments, *, hot=False, result_bytes=100, seed=3):
    """One at each moment, of any of so many keys; a row of several seconds each where they are hot."""
    draw = random.Random(seed)
    text = read_template(template, f"SELECT * FROM t{template}", f"t{template}")
    kind = {"n": 3, "tier": "hot", "buckets": (1, 0, 2)} if hot else {}
    for at in moments:
        key = draw.randrange(keys).to_bytes(8, "big")
        yield query_row(
            int(at) if hot else at,
            text,
            template.to_bytes(4, "big") + key[4:] + key,
            duration_us=20_000,
            result_bytes=result_bytes,
            **kind,
        )


def analysed(*rows, engine="valkey", ttls=TTLS):
    day = QueryRowsDay(
        Period(START, START + timedelta(seconds=SECONDS)), [row for each in rows for row in each]
    )
    return analyze_cache_potential(day, Assumptions(engine=engine), ttls=ttls)


@pytest.mark.parametrize("engine", ["redis", "valkey"])
@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("keys", [1, 10, 400])
@pytest.mark.parametrize("every", [0.04, 0.7, 3.0])
def test_there_are_never_more_entries_than_keys_and_no_fewer_with_a_longer_ttl(engine, hot, keys, every):
    found = analysed(executions(1, keys, np.arange(0.0, 600.0, every), hot=hot), engine=engine)

    assert found.unique <= keys
    for at in (*found.by_ttl, *found.most_repeated[0].by_ttl, found.plan.at):
        assert at.peak_keys <= found.unique + 1e-6
    for ats in (found.by_ttl, found.most_repeated[0].by_ttl):
        sizes = [at.peak_bytes for at in ats]
        assert sizes == sorted(sizes)
    # With the longest TTL all that came are there.
    assert found.by_ttl[-1].peak_keys == pytest.approx(found.unique)


def test_what_has_expired_counts_where_its_key_does_not_come_again():
    once = analysed(executions(1, 10**9, np.arange(0.0, 600.0, 0.05)))
    again = analysed(executions(1, 20, np.arange(0.0, 600.0, 0.05)))

    # 20 new keys a second, of which those of the last two live: half as many again wait for the sweep.
    assert once.by_ttl[1].peak_keys > 45
    assert again.by_ttl[1].peak_keys <= 20


def test_each_template_has_the_peak_of_its_own_time_and_no_part_of_another_one():
    # Three keys in the morning, and a thousand times as much in the evening.
    morning = list(executions(1, 3, np.arange(0.0, 300.0, 1.0)))
    evening = list(executions(2, 3_000, np.arange(3_000.0, 3_300.0, 0.05), result_bytes=2_000))
    found = analysed(morning, evening, ttls=(60,))

    by_hash = {each.template_hash: each.by_ttl[0] for each in found.most_repeated}
    [small] = analysed(morning, ttls=(60,)).by_ttl
    [large] = analysed(evening, ttls=(60,)).by_ttl
    assert by_hash["1"].peak_keys == pytest.approx(3)
    assert by_hash["1"].peak_bytes >= 3 * entry_bytes("valkey", 40, np.array([100]))[0]
    assert by_hash["1"].peak_bytes == pytest.approx(small.peak_bytes, rel=0.4)
    assert by_hash["2"].peak_bytes == pytest.approx(large.peak_bytes, rel=0.01)
    # They are never there at once.
    assert found.by_ttl[0].peak_bytes == pytest.approx(large.peak_bytes, rel=0.01)


def test_of_a_template_that_nobody_sees_in_the_trace_memory_is_its_share():
    live = LiveEntries((60,), SECONDS)
    live.first_executed(np.array([5]), np.array([100.0]))
    live.filled(0, np.array([5]), np.array([100.0]), np.array([200.0]))
    peaks = Peaks(live, TraceSample(0, np.copy, np.zeros(2)).trace(), Assumptions())
    whole = peaks.of(0, np.array([True, True]), keys=100.0, share=1.0)

    part = peaks.of(0, np.array([True, False]), keys=100.0, share=0.25)

    assert part == pytest.approx((whole[0] / 4, whole[1] / 4))
