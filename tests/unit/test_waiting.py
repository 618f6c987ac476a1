from __future__ import annotations

import os
import threading

import pytest

from otel_ratelimit.core import waiting
from otel_ratelimit.core.waiting import Bell, LateLock, ready


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_descriptor_is_ready_when_something_is_in_it(monkeypatch, has_poll):
    if not has_poll:
        monkeypatch.delattr(waiting.select, "poll")
    reader, writer = os.pipe()
    try:
        assert not ready(reader, 0.0)
        assert ready(writer, 0.0, to_write=True)
        os.write(writer, b"1")
        assert ready(reader, 5.0)
        os.read(reader, 1)
        os.close(writer)
        assert ready(reader, 5.0)  # it has been hung up
    finally:
        os.close(reader)


def test_a_bell_rung_before_the_wait_ends_it_and_many_rings_are_one():
    bell = Bell()
    for _ in range(100_000):
        bell.ring()
    bell.wait(60.0)
    assert not ready(bell._reader, 0.0)
    bell.close()


def test_a_bell_wakes_another_thread_and_may_be_rung_when_it_is_closed():
    bell = Bell()
    thread = threading.Thread(target=bell.wait, args=(60.0,))
    thread.start()
    bell.ring()
    thread.join(30.0)
    assert not thread.is_alive()
    bell.close()
    bell.close()
    bell.ring()


def test_a_lock_is_of_the_kind_that_threading_makes_now(monkeypatch):
    lock = LateLock()
    with lock:
        assert not lock.acquire(timeout=0.001)

    class Patched:
        taken = 0

        def acquire(self, timeout=-1):
            Patched.taken += 1
            return True

        def release(self):
            Patched.taken -= 1

    monkeypatch.setattr(threading, "Lock", Patched)
    with lock:
        assert Patched.taken == 1
    assert Patched.taken == 0


def test_a_lock_that_the_parent_holds_is_free_in_a_fork_that_runs_no_hooks(monkeypatch):
    lock = LateLock()
    lock.acquire()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert lock.acquire(timeout=0.001)


def test_threads_share_one_lock():
    lock, count = LateLock(), 0

    def add():
        nonlocal count
        for _ in range(2000):
            with lock:
                before = count
                count = before + 1

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 16_000
