"""A signal handler that raises at any moment, and stores that are garbage-collected."""

from __future__ import annotations

import gc
import os
import random
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from counter_stores import LOCKS, NOW, client, neighbour, sweeper_of, window, zone_store
from forks import in_child
from process_state import differences, process_state
from tiny_zones import tiny_store
from variants import quick_first
from zone_recount import assert_figures_are_exact

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.zone.values import FORMS

WINDOWS = [window(10**9, 3_600, strategy) for strategy in FORMS]


class SignalError(Exception):
    """What the signal handler raises."""


@pytest.fixture
def interrupting():
    """Sets a timer that raises `SignalError` once."""

    def interrupt(_signal, _frame):
        raise SignalError

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def operations(counters):
    yield lambda n: counters.take(WINDOWS[:1], client(), 1, NOW)
    yield lambda n: counters.take(WINDOWS, client(n % 7), 1, NOW)
    # Never ahead by a whole period: to `NOW` that would be a clock that was set back.
    yield lambda n: counters.take(WINDOWS, client(n), 1, NOW + n % 3_000)
    yield lambda n: counters.take(WINDOWS, neighbour(n), 1, NOW)
    yield lambda n: counters.peek(WINDOWS, client(), 1, NOW)
    yield lambda n: counters.clear(WINDOWS, client(n % 7))
    yield lambda n: sweeper_of(counters).sweep()


@pytest.mark.untraced
@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("times", quick_first([3_000, 50_000]))
def test_an_exception_at_any_moment_leaves_the_zone_right_and_the_lock_free(kind, times, interrupting):
    counters = tiny_store(kind, lambda: NOW, buckets=40, overflow_buckets=2)
    draw = random.Random(times)
    some = list(operations(counters))
    interrupted = 0
    for n in range(times):
        operation = draw.choice(some)
        try:
            interrupting(draw.uniform(1e-6, 1.5e-4))
            operation(n)
            interrupting(0)
        except SignalError:
            interrupted += 1
        if n % 50 == 0:
            with suppress(SignalError):  # a signal may be on its way
                interrupting(0)
                counters.peek(WINDOWS, client(), 1, NOW)
            assert_figures_are_exact(counters.zone)

    assert interrupted > times // 10
    assert in_child(lambda: counters.take(WINDOWS, client(), 1, NOW).allowed)


@pytest.mark.parametrize("kind", LOCKS)
def test_an_exception_in_the_middle_of_a_change_finishes_it(kind):
    counters = zone_store(kind)
    counters.take(WINDOWS, client(), 1, NOW)
    write = counters.zone.journal.write_slot
    left = [1]

    def interrupt(*fields):
        write(*fields)
        if left.pop() and not left:
            left.append(0)
            raise SignalError
        left.append(0)

    counters.zone.journal.write_slot = interrupt

    with pytest.raises(SignalError):
        counters.take(WINDOWS, client(), 1, NOW + 3_601)

    used = [state.used for state in counters.peek(WINDOWS, client(), 1, NOW + 3_601).states]
    assert used[0] == used[2] == 1
    assert_figures_are_exact(counters.zone)
    assert in_child(lambda: counters.take(WINDOWS, client(), 1, NOW + 3_601).allowed)


@pytest.mark.parametrize("kind", LOCKS)
def test_an_error_of_a_call_leaves_the_lock_free(kind):
    counters = tiny_store(kind, lambda: NOW, tables=1)
    counters.take(WINDOWS[:1], client(), 1, NOW)

    with pytest.raises(StorageUnavailableError, match="full"):
        counters.take(WINDOWS, client(), 1, NOW)

    assert in_child(lambda: counters.take(WINDOWS[:1], client(), 1, NOW).states[0].used) == 2


def mappings():
    return sum("/dev/zero" in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.parametrize("kind", LOCKS)
def test_nothing_is_left_of_a_store_that_is_collected(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def use():
        counters = zone_store(kind)
        sweeper = sweeper_of(counters)
        for n in range(100):
            counters.take(WINDOWS, client(n), 1, NOW)
        sweeper.sweep()
        return counters

    use()
    gc.collect()
    before, mapped = process_state(), mappings()
    for _ in range(3):
        use()
    gc.collect()

    assert threading.active_count() == len(before["threads"])
    assert mappings() == mapped
    assert differences(before, process_state()) == {}


def test_a_zone_is_unmapped_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        before = mappings()
        counters = zone_store()
        counters.take(WINDOWS, client(), 1, NOW)
        assert mappings() == before + 1
        del counters
        assert mappings() == before
    finally:
        gc.enable()


def test_a_process_that_ends_with_the_lock_gives_it_back():
    counters = zone_store()

    def leave():
        counters.zone.holder.try_lock(counters.zone.holder.handle)
        os._exit(0)

    with pytest.raises(RuntimeError, match="without an answer"):
        in_child(leave)

    assert counters.take(WINDOWS, client(), 1, NOW).allowed
