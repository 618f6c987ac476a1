"""Several processes that count in one zone: exact to the unit, also if they are killed or stopped."""

from __future__ import annotations

import logging
import mmap
import os
import random
import signal
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import Pipe

import psutil
import pytest
from counter_stores import LOCKS, NOW, client, sweeper_of, window, zone_store
from forks import Child, at_once, in_child
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_counters import NaiveCounters
from variants import quick_first
from waiting import wait_for
from zone_recount import assert_figures_are_exact

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.zone.lock_holder import STALLED_SECONDS
from otel_ratelimit.storage.zone.values import FORMS

EVERY_LOCK = pytest.mark.parametrize("kind", LOCKS)
WINDOWS = [window(3, 10, strategy) for strategy in FORMS]
WINDOWS += [window(7, 60, strategy, shadow=number == 0) for number, strategy in enumerate(FORMS)]
COMMANDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["take", "take", "take", "peek", "clear", "sweep"]),
        st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=3, unique=True),
        st.integers(1, 4),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.0, 0.4, 5.0, 10.0, 70.0]),
    ),
    max_size=40,
)


def do(counters, command, windows, who, cost, now):
    if command == "take":
        return counters.take(windows, who, cost, now)
    if command == "peek":
        return counters.peek(windows, who, cost, now)
    if command == "clear":
        return counters.clear(windows, who)
    return sweeper_of(counters).sweep().removed_keys


def serve(counters, connection):
    """Do what comes through the pipe until it is closed."""
    with suppress(EOFError):
        while True:
            command = connection.recv()
            counters.clock = lambda now=command[-1]: now
            connection.send(do(counters, *command))


@contextmanager
def processes(counters, number):
    """Connections to forked processes that serve; they end with the block."""
    ours, children = [], []
    for _ in range(number):
        here, there = Pipe()
        ours.append(here)
        children.append(
            Child(lambda there=there: ([each.close() for each in ours], serve(counters, there))[0])
        )
        there.close()
    try:
        yield ours
    finally:
        for each in ours:
            each.close()
        for child in children:
            child.end()


@EVERY_LOCK
@settings(max_examples=12)
@given(COMMANDS)
def test_all_processes_see_one_truth(kind, commands):
    counters, model, now = zone_store(kind), NaiveCounters(), NOW
    with processes(counters, 3) as connections:
        for who, command, windows, n, cost, later in commands:
            now += later
            connections[who].send((command, windows, client(n), cost, now))
            answer = connections[who].recv()

            if command == "clear":
                model.clear(windows, client(n))
            elif command == "take":
                assert (answer.allowed, [not state.exceeded for state in answer.states]) == model.take(
                    windows, client(n), cost, now
                )
            if command in {"take", "peek"}:
                used = [model.used(each, client(n), now) for each in windows]
                assert [state.used for state in answer.states] == used
    assert_figures_are_exact(counters.zone)


def allowed_in_all(counters, number, hits, hit):
    """How many of `hits` calls in each of `number` processes were allowed."""
    return sum(at_once([lambda: sum(hit(n) for n in range(hits))] * number))


@pytest.mark.untraced
@EVERY_LOCK
@pytest.mark.parametrize("hits", quick_first([5_000, 60_000]))
def test_processes_are_allowed_exactly_the_limit(kind, hits):
    counters = zone_store(kind)
    windows = [window(3 * hits + 1, 86_400), window(4 * hits, 3_600, list(FORMS)[1])]

    def hit(_n):
        return counters.take(windows, client(), 1, NOW).allowed

    assert allowed_in_all(counters, 4, hits, hit) == 3 * hits + 1
    assert [state.used for state in counters.peek(windows, client(), 0, NOW).states] == [3 * hits + 1] * 2


@pytest.mark.untraced
@EVERY_LOCK
@pytest.mark.parametrize("hits", quick_first([5_000, 60_000]))
def test_processes_are_allowed_exactly_the_limit_of_each_of_a_thousand_clients(kind, hits):
    counters = zone_store(kind)
    limit = window(hits * 3 // 1_000, 86_400)

    def hit(n):
        return counters.take([limit], client(n % 1_000), 1, NOW).allowed

    assert allowed_in_all(counters, 4, hits, hit) == 3 * hits
    assert counters.snapshot().keys == 1_000
    assert_figures_are_exact(counters.zone)


@pytest.mark.untraced
@pytest.mark.timeout(600)
@EVERY_LOCK
@pytest.mark.parametrize("kills", quick_first([60, 1_000]))
def test_a_killed_process_takes_its_own_last_count_with_it_at_most(kind, kills):
    counters = zone_store(kind, clock=lambda: NOW)
    limits = [window(10**9, 86_400), window(10**9, 3_600, list(FORMS)[1])]
    noted = mmap.mmap(-1, 8 * (kills + 4))
    words = memoryview(noted).cast("Q")

    def hit(place):
        while True:
            counters.take(limits, client(), 1, NOW)
            words[place] += 1
            counters.take(limits[:1], client(words[place] % 500 + 1), 1, NOW)

    draw = random.Random(kills)
    children = [Child(lambda place=place: hit(place)) for place in range(4)]
    try:
        for place in range(4, kills + 4):
            time.sleep(draw.uniform(0, 0.004))
            victim = children.pop(draw.randrange(4))
            victim.kill()
            children.append(Child(lambda place=place: hit(place)))
    finally:
        for child in children:
            child.kill()

    counted = sum(words.tolist())
    used = [state.used for state in counters.peek(limits, client(), 0, NOW).states]
    assert counted <= used[0] <= counted + kills + 4
    assert used[0] == used[1]
    assert counted > kills
    assert_figures_are_exact(counters.zone)


def keep_lock(counters):
    """A child that holds the lock until a signal comes; it is stopped by the first."""
    ready = mmap.mmap(-1, 1)

    def hold():
        with counters.zone.locked():
            ready[0] = 1
            os.kill(os.getpid(), signal.SIGSTOP)

    child = Child(hold)
    wait_for(lambda: ready[0] and psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
    return child


@EVERY_LOCK
@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_process_that_is_stopped_with_the_lock_stops_no_other(kind, end, caplog):
    caplog.set_level(logging.WARNING)
    counters = zone_store(kind)
    now = [1_000.0]
    counters.zone.holder._monotonic = lambda: now[0]
    failures = []
    counters.zone.on_failure(failures.append)
    for stop in range(2):  # each is logged
        caplog.clear()
        child = keep_lock(counters)

        for _ in range(3):
            with pytest.raises(StorageUnavailableError, match="LockNotReleased"):
                counters.take([window(5, 60)], client(), 1, NOW)

        assert not counters.zone.is_healthy()
        assert counters.zone.retry_after() == STALLED_SECONDS
        assert failures == ["LockNotReleased"] * (stop + 1)  # the others did not wait
        assert [
            each for each in caplog.messages if "its lock cannot be had (EBUSY)" in each
        ] == caplog.messages
        assert len(caplog.messages) == 1

        os.kill(child.pid, end)
        child.end()
        assert counters.take([window(5, 60)], client(), 1, NOW).states[0].used == stop + 1
        assert counters.zone.is_healthy()
        assert "the lock was released; counting goes on" in caplog.messages[-1]
    assert_figures_are_exact(counters.zone)


def test_a_busy_owner_is_waited_for_longer_than_a_stopped_one():
    counters = zone_store()
    go_on, held = threading.Event(), threading.Event()

    def hold():
        with counters.zone.locked():
            held.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    waits = []
    wait = counters.zone.lock.wait

    def counted():
        waits.append(1)
        if len(waits) == 3:
            go_on.set()
            thread.join()
        return wait()

    counters.zone.lock.wait = counted

    assert counters.take([window(5, 60)], client(), 1, NOW).allowed
    assert len(waits) == 3


def test_an_owner_that_dies_while_it_is_asked_about_does_not_count_as_stopped():
    counters = zone_store()
    go_on, held = threading.Event(), threading.Event()

    def hold():
        with counters.zone.locked():
            held.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    gone = Child(int)
    gone.end()
    owner = counters.zone.lock.owner
    owners = [gone.pid]

    def ask():
        go_on.set()
        return owners.pop() if owners else owner()

    counters.zone.lock.owner = ask

    assert counters.take([window(5, 60)], client(), 1, NOW).allowed
    thread.join()
    assert not owners


@EVERY_LOCK
def test_a_child_forked_while_another_thread_has_the_lock_waits_for_it(kind):
    counters = zone_store(kind)
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with counters.zone.locked():
            held.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = Child(lambda: counters.take([window(5, 60)], client(), 1, NOW).states[0].used)
    go_on.set()
    thread.join()

    assert child.result() == 1
    assert counters.take([window(5, 60)], client(), 1, NOW).states[0].used == 2


@pytest.mark.untraced
@EVERY_LOCK
def test_children_forked_while_threads_count_are_neither_stuck_nor_wrong(kind):
    counters = zone_store(kind)
    stop = threading.Event()
    taken = [0] * 3

    def hit(number):
        while not stop.is_set():
            counters.take([window(10**9, 86_400)], client(), 1, NOW)
            taken[number] += 1

    threads = [threading.Thread(target=hit, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert in_child(lambda: counters.take([window(10**9, 86_400)], client(), 1, NOW).allowed)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert counters.peek([window(10**9, 86_400)], client(), 0, NOW).states[0].used == sum(taken) + 20


@pytest.mark.untraced
@EVERY_LOCK
def test_threads_are_allowed_exactly_the_limit(kind):
    counters = zone_store(kind)
    limits = [window(30_000, 86_400), window(35_000, 3_600, list(FORMS)[1])]
    allowed = []

    def hit():
        allowed.append(sum(counters.take(limits, client(), 1, NOW).allowed for _ in range(5_000)))

    threads = [threading.Thread(target=hit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(allowed) == 30_000
