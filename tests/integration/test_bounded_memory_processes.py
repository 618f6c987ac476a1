"""The store over fork, at exit, and under Flask-Limiter."""

import os
import subprocess
import sys
import threading
import time

import pytest
from flask import Flask
from flask_limiter import Limiter
from half_over import DAY_OR_TWO

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.limits_adapter import BoundedMemoryStorage

MINUTE = Window("a|ep|60|fixed-window|", 5, 60, Strategy.FIXED_WINDOW, False, "", "")
CLIENT = "i" + 32 * "a"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def exit_status_of_child(check):
    """Run `check` in a forked child; 0 if it returned True."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def within_10_seconds(condition):
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@needs_fork
def test_a_forked_child_counts_on_from_where_its_parent_was_and_by_itself():
    counters = BoundedMemoryStorage().counters
    now = time.time()
    counters.take([MINUTE], CLIENT, 2, now)

    def check():
        return counters.take([MINUTE], CLIENT, 1, now).states[0].used == 3

    assert exit_status_of_child(check) == 0
    assert counters.take([MINUTE], CLIENT, 1, now).states[0].used == 3


@needs_fork
def test_a_forked_child_sweeps_once_it_is_used():
    storage = BoundedMemoryStorage(cleanup_interval=0.01)
    storage.incr("key", 60)
    assert within_10_seconds(lambda: storage.sweeper.last is not None)

    def check():
        storage.sweeper.last = None
        storage.incr("another", 60)
        return within_10_seconds(lambda: storage.sweeper.last is not None)

    assert exit_status_of_child(check) == 0


@pytest.mark.full
@pytest.mark.untraced
@needs_fork
def test_children_forked_while_other_threads_hit_the_store_are_neither_stuck_nor_wrong():
    storage = BoundedMemoryStorage(cleanup_interval=0.01)
    counters = storage.counters
    stop = threading.Event()

    def hit(thread):
        n = 0
        while not stop.is_set():
            n += 1
            counters.take([MINUTE], f"i{thread:016x}{n:016x}", 1, time.time())

    threads = [threading.Thread(target=hit, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()

    def check():
        counters.take([MINUTE], "u" + 32 * "b", 1, time.time())
        storage.incr("key", 60)
        # The child's own sweeper may be at work.
        with counters.lock:
            tables = counters.by_prefix.values()
            return counters.budget.used == sum(table.weigh() for table in tables)

    try:
        assert [exit_status_of_child(check) for _ in range(20)] == [0] * 20
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_process_that_used_the_store_ends_at_once_and_in_silence():
    program = """
from limits.storage import storage_from_string
import otel_ratelimit.storage.limits_adapter
storage = storage_from_string("bounded-memory://?cleanup_interval=0.001")
for n in range(1000):
    storage.incr(f"key {n}", 60)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)

    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter", "moving-window"])
def test_flask_limiter_finds_the_store_by_its_uri_and_limits_with_it(strategy):
    app = Flask("app")
    limiter = Limiter(
        lambda: "client",
        app=app,
        storage_uri="bounded-memory://?capacity=2MB",
        strategy=strategy,
        headers_enabled=True,
        default_limits=[f"2/{DAY_OR_TWO} seconds"],
    )
    app.add_url_rule("/", view_func=lambda: "ok")

    answers = [app.test_client().get("/") for _ in range(3)]

    assert isinstance(limiter.storage, BoundedMemoryStorage)
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    limiter.reset()
    assert app.test_client().get("/").status_code == 200
