"""Hot keys, kept executions, and when these change."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.queries.execution_key import KEY_BYTES, ExecutionKeys
from otel_ratelimit.queries.frequent_keys import FrequentKeys
from otel_ratelimit.queries.sampling import (
    BUSY_EXECUTIONS,
    MIN_HOT_EXECUTIONS,
    NOTED_ONE_IN,
    PROMOTE_SECONDS,
    QuerySampler,
    threshold,
)


def key(number):
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=KEY_BYTES).digest()


@given(
    st.lists(st.integers(0, 60).map(lambda number: number * number // 60), max_size=600), st.integers(1, 20)
)
def test_a_frequent_key_is_found_and_no_count_is_too_high(stream, capacity):
    frequent, true = FrequentKeys(capacity), Counter(stream)
    for number in stream:
        frequent.add(key(number))
    assert len(frequent) < 2 * capacity + 1
    for number, count in true.items():
        assert count - frequent.error <= frequent.count(key(number)) <= count
        if count > len(stream) / capacity:
            assert frequent.count(key(number)) > 0
    assert frequent.error <= len(stream) / capacity


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 0.0), (1.0, 1.0), (0.1, 0.1), (0.5, 0.5)])
def test_a_threshold_keeps_its_share_of_the_keys(rate, kept):
    below = threshold(rate)
    share = sum(key(number) < below for number in range(20_000)) / 20_000
    assert share == pytest.approx(kept, abs=0.01)
    assert (threshold(1.0) > b"\xff" * KEY_BYTES) is True
    assert (threshold(0.0) > b"\0" * KEY_BYTES) is False


def test_lower_rates_keep_a_part_of_what_higher_ones_keep():
    rates = [1.0, 0.5, 0.25, 0.1, 0.05]
    below = [threshold(rate) for rate in rates]
    assert below == sorted(below, reverse=True)


def test_hot_keys_follow_from_the_windows_before_whether_they_were_kept_or_not():
    sampler = QuerySampler(0.5, hot_keys=2)
    keys = [key(number) for number in range(40)]
    kept = next(k for k in keys if k < sampler.window.threshold)
    not_kept = next(k for k in keys if k >= sampler.window.threshold)
    for _ in range(50):
        sampler.seen(kept)
        sampler.note(not_kept)
    for other in keys:
        sampler.seen(other)
    assert sampler.window.hot == frozenset(), "nothing is known before the first edge"
    sampler.roll(60.0, 0)
    assert sampler.window.hot == {kept, not_kept}


def test_where_little_happens_nothing_is_hot():
    sampler = QuerySampler(1.0)
    for number in range(100):
        for _ in range(MIN_HOT_EXECUTIONS - 1):
            sampler.seen(key(number))
    sampler.roll(60.0, 0)
    assert sampler.window.hot == frozenset()


def test_a_hot_key_does_not_go_in_and_out():
    sampler = QuerySampler(1.0, hot_keys=2)
    a, b, c = key(1), key(2), key(3)
    weights = {a: 100, b: 50, c: 45}
    changes = []
    for window in range(1, 9):
        for one, n in weights.items():
            for _ in range(n + (10 if one == c and window % 2 == 0 else 0)):
                sampler.seen(one)
        sampler.roll(60.0 * window, 0)
        changes.append(sampler.window.hot)
    assert set(changes) == {frozenset({a, b})}


def test_a_window_ends_at_the_edge_and_when_the_clock_is_set_back():
    sampler = QuerySampler(1.0, window_seconds=60)
    sampler.roll(125.0, 0)
    assert sampler.window.start == 120.0
    assert not sampler.is_over(120.0)
    assert not sampler.is_over(179.9)
    assert sampler.is_over(180.0)
    assert sampler.is_over(119.0)
    sampler.roll(10_000_000.0, 0)
    assert sampler.window.start == 9_999_960.0


def test_too_many_rows_halve_the_rate_at_the_edge_and_it_comes_back():
    sampler = QuerySampler(0.8, most_rows=1_000)
    rates = []
    for window, rows in enumerate([500, 3_500, 1_100, 1_000, 400, 200, 200, 200, 100], 1):
        before = sampler.window
        sampler.roll(60.0 * window, rows)
        assert before is not sampler.window
        rates.append(sampler.window.rate)
    assert rates == [0.8, 0.2, 0.1, 0.1, 0.1, 0.2, 0.4, 0.8, 0.8]
    assert sampler.window.threshold == threshold(0.8)


def test_what_is_noted_is_bounded_and_threads_do_no_harm():
    sampler = QuerySampler(0.0, hot_keys=4)
    hot = key(7)

    def note(number):
        for index in range(20_000):
            sampler.note(key(number * 20_000 + index))
            sampler.note(hot)

    threads = [threading.Thread(target=note, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sampler._noted) <= 16_384 + 4
    sampler.roll(60.0, 0)
    assert hot in sampler.window.hot


def test_no_two_of_half_a_million_executions_share_a_key():
    keys = ExecutionKeys(b"one secret")
    contexts = [f"shop\0role {number}".encode() for number in range(10)]
    executions = [(context, b"SELECT %d" % number) for number in range(50_000) for context in contexts]
    assert len({keys.key(*execution) for execution in executions}) == len(executions)


def test_keys_differ_by_secret_context_and_text_and_by_nothing_else():
    keys = ExecutionKeys(b"one secret")
    one = keys.key(b"shop", b"SELECT 1")
    assert len(one) == KEY_BYTES
    assert keys.key(b"shop", b"SELECT 1") == one == ExecutionKeys(b"one secret").key(b"shop", b"SELECT 1")
    others = {
        ExecutionKeys(b"another secret").key(b"shop", b"SELECT 1"),
        ExecutionKeys(b"x" * 200).key(b"shop", b"SELECT 1"),
        ExecutionKeys(b"x" * 201).key(b"shop", b"SELECT 1"),
        keys.key(b"archive", b"SELECT 1"),
        keys.key(b"shop", b"SELECT 2"),
        keys.key(b"shopS", b"ELECT 1"),
    }
    assert len(others | {one}) == 7
    for number in range(3_000):
        keys.key(str(number).encode(), b"")
    assert len(keys.started) <= 1024
    assert keys.key(b"shop", b"SELECT 1") == one
    assert keys.has(b"one secret")
    assert not keys.has(b"another secret")


def test_who_becomes_hot_within_a_window_is_kept_from_the_next_look_on():
    sampler = QuerySampler(0.5, hot_keys=2)
    sampler.roll(60.0, 0)
    assert sampler.promote(61.0) is False
    for _ in range(MIN_HOT_EXECUTIONS):
        sampler.seen(key(1))
    assert sampler.promote(61.0 + PROMOTE_SECONDS / 2) is False, "not looked at yet"
    before = sampler.window
    assert sampler.promote(61.0 + PROMOTE_SECONDS) is True
    assert sampler.window.hot == {key(1)}
    assert (sampler.window.start, sampler.window.threshold) == (before.start, before.threshold)


def test_nobody_is_pushed_out_before_the_window_ends():
    sampler = QuerySampler(0.5, hot_keys=1)
    for _ in range(MIN_HOT_EXECUTIONS):
        sampler.seen(key(1))
    sampler.roll(60.0, 0)
    for _ in range(100):
        sampler.seen(key(2))
    assert sampler.promote(70.0) is False
    assert sampler.window.hot == {key(1)}


def test_who_is_asked_for_every_other_minute_only_becomes_hot_as_well():
    sampler = QuerySampler(0.5)
    for minute in range(20):
        if minute % 2 == 0:
            sampler.seen(key(1))
        sampler.roll(60.0 * minute, 0)
    assert sampler.window.hot == {key(1)}


def test_every_execution_is_noted_until_there_are_many():
    sampler = QuerySampler(0.5)
    assert sampler.window.noted_one_in == 1
    for _ in range(BUSY_EXECUTIONS + 1):
        sampler.seen(key(1))
    sampler.roll(60.0, 0)
    assert sampler.window.noted_one_in == NOTED_ONE_IN
    for _ in range(BUSY_EXECUTIONS // NOTED_ONE_IN + 1):
        sampler.seen(key(1))
    sampler.roll(120.0, 0)
    assert sampler.window.noted_one_in == NOTED_ONE_IN, "each that is noted stands for several"
    sampler.roll(180.0, 0)
    assert sampler.window.noted_one_in == 1
