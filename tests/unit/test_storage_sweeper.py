import gc
import logging
import time
import weakref
from itertools import pairwise

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.sweeper import Sweeper

MINUTE = Window("a|ep|60|fixed-window|", 5, 60, Strategy.FIXED_WINDOW, False, "", "")
HOUR = Window("a|ep|3600|moving-window|", 5, 3600, Strategy.MOVING_WINDOW, False, "", "")


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


def filled(clock, keys=5000):
    counters = BoundedMemoryStore(50_000_000, clock)
    for n in range(keys):
        counters.take([MINUTE, HOUR], f"i{n:032x}", 1, clock.now)
    return counters


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 10 s"
        time.sleep(0.005)


def test_a_sweep_removes_what_is_expired_and_nothing_else():
    clock = Clock()
    counters = filled(clock)
    clock.now += 60
    counters.take([MINUTE], "i" + 32 * "f", 1, clock.now)

    report = Sweeper(counters, 60).sweep()

    assert report.removed_keys == 5000
    assert counters.snapshot().keys == 5001
    assert counters.peek([HOUR], f"i{7:032x}", 1, clock.now).states[0].used == 1
    assert counters.peek([MINUTE], "i" + 32 * "f", 1, clock.now).states[0].used == 1


def test_a_sweep_reports_the_bytes_it_freed():
    clock = Clock()
    counters = filled(clock)
    before = counters.budget.used
    clock.now += 60

    report = Sweeper(counters, 60).sweep()

    assert report.freed_bytes == before - counters.budget.used
    assert report.freed_bytes > 5000 * 80
    assert report.duration_seconds >= report.longest_pause_seconds > 0


def test_memory_goes_back_to_that_of_an_empty_store():
    clock = Clock()
    empty = BoundedMemoryStore(50_000_000).budget.used
    counters = filled(clock)
    clock.now += 3600

    Sweeper(counters, 60).sweep()

    assert counters.budget.used == empty
    assert counters.tables() == []


def test_the_lock_is_released_as_soon_as_the_time_for_a_step_is_over():
    clock = Clock()
    counters = filled(clock, keys=2_000)
    clock.now += 60
    ticks = iter(range(10**9))
    keys = [counters.snapshot().keys]

    def rest(_seconds):
        assert not counters.lock.locked()
        keys.append(sum(table.keys for table in counters.tables()))

    # A timer by which everything takes too long.
    Sweeper(counters, 60, timer=lambda: float(next(ticks)), rest=rest).sweep()

    assert keys[0] - keys[-1] == 2_000
    assert max(before - after for before, after in pairwise(keys)) == 1


def test_small_shards_share_a_step():
    clock = Clock()
    counters = BoundedMemoryStore(50_000_000, clock)
    for n in range(100):
        window = Window(f"a|ep{n}|60|fixed-window|", 5, 60, Strategy.FIXED_WINDOW, False, "", "")
        counters.take([window], "i" + 32 * "f", 1, clock.now)
    rests = []

    Sweeper(counters, 60, timer=lambda: 0.0, rest=rests.append).sweep()

    assert len(rests) == 2  # one step to sweep, one to tidy


def test_a_store_that_is_reset_during_a_sweep_keeps_an_exact_ledger():
    clock = Clock()
    counters = filled(clock)
    clock.now += 60
    ticks = iter(range(10**9))

    rests = []

    def rest(seconds):
        rests.append(seconds)
        if len(rests) == 3:
            counters.reset()
            counters.take([MINUTE], "i" + 32 * "f", 1, clock.now)

    Sweeper(counters, 60, timer=lambda: float(next(ticks)), rest=rest).sweep()

    assert len(rests) > 3
    assert counters.budget.used == sum(table.weigh() for table in counters.tables())
    assert counters.snapshot().keys == 1
    assert counters.snapshot().by_client_kind == {"ip": 1}


def test_listeners_hear_of_each_cleanup_and_one_that_fails_does_not_silence_the_next(caplog):
    sweeper = Sweeper(filled(Clock()), 60)
    heard = []
    sweeper.on_cleanup(lambda _report: 1 / 0)
    sweeper.on_cleanup(heard.append)

    report = sweeper.sweep()

    assert heard == [report]
    assert sweeper.last == report
    assert "ZeroDivisionError" in caplog.text


def test_a_sweep_says_in_the_log_what_it_removed(caplog):
    caplog.set_level(logging.DEBUG)
    clock = Clock()
    counters = filled(clock)
    clock.now += 60

    Sweeper(counters, 60).sweep()

    assert "5000 expired counters removed" in caplog.text


def test_no_thread_runs_before_the_first_request_and_one_sweeps_from_then_on():
    clock = Clock()
    counters = BoundedMemoryStore(1_000_000, clock)
    sweeper = Sweeper(counters, 0.01)
    assert not sweeper._worker.alive

    counters.take([MINUTE], "i" + 32 * "f", 1, clock.now)
    assert sweeper._worker.alive
    clock.now += 60

    wait_until(lambda: sweeper.last is not None and counters.snapshot().keys == 0)


def test_a_worker_that_is_given_is_used():
    worker = BackgroundWorker("given")
    counters = BoundedMemoryStore(1_000_000)
    sweeper = Sweeper(counters, 0.01, worker)
    try:
        counters.take([MINUTE], "i" + 32 * "f", 1, time.time())
        wait_until(lambda: sweeper.last is not None)
        assert worker.alive
    finally:
        worker.close()


def test_a_store_that_nobody_needs_any_more_is_collected_and_its_thread_ends():
    counters = BoundedMemoryStore(1_000_000)
    sweeper = Sweeper(counters, 0.01)
    counters.take([MINUTE], "i" + 32 * "f", 1, time.time())
    wait_until(lambda: sweeper.last is not None)
    gone = weakref.ref(counters)
    mine = sweeper._worker._thread

    counters = sweeper = None

    wait_until(lambda: gc.collect() >= 0 and gone() is None)
    wait_until(lambda: not mine.is_alive())
