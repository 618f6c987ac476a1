import os
import subprocess
import sys
import threading
import time

import pytest

from otel_ratelimit.core.background import BackgroundWorker


@pytest.fixture
def worker():
    worker = BackgroundWorker("test-worker")
    yield worker
    worker.close()


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 10 s"
        time.sleep(0.005)


def test_there_is_no_thread_without_a_task(worker):
    worker.ensure_started()

    assert not worker.alive


def test_the_first_task_starts_the_thread_and_runs_again_and_again(worker):
    runs = []

    worker.every(0.01, "task", lambda: runs.append(1))

    assert worker.alive
    wait_until(lambda: len(runs) >= 3)


def test_a_task_does_not_run_before_its_time(worker):
    early, late = [], []
    worker.every(3600, "late", lambda: late.append(1))
    worker.every(0.01, "early", lambda: early.append(1))

    wait_until(lambda: len(early) >= 3)

    assert not late


def test_waking_runs_a_task_at_once_and_only_that(worker):
    woken, other = [], []
    worker.every(3600, "woken", lambda: woken.append(1))
    worker.every(3600, "other", lambda: other.append(1))

    worker.wake("woken")

    wait_until(lambda: woken == [1])
    assert not other


def test_waking_what_does_not_exist_does_nothing(worker):
    runs = []
    worker.every(3600, "task", lambda: runs.append(1))

    worker.wake("unknown")
    worker.wake("task")

    wait_until(lambda: runs == [1])


def test_a_task_that_raises_is_logged_and_runs_again(worker, caplog):
    runs = []

    def fail():
        runs.append(1)
        raise LookupError("no such thing")

    worker.every(0.01, "failing", fail)

    wait_until(lambda: len(runs) >= 3)
    assert "task failing failed" in caplog.text
    assert "no such thing" in caplog.text


def test_a_task_that_raises_does_not_stop_the_others(worker):
    runs = []
    worker.every(0.01, "failing", lambda: 1 / 0)
    worker.every(0.01, "task", lambda: runs.append(1))

    wait_until(lambda: len(runs) >= 3)


def test_a_cancelled_task_does_not_run(worker):
    cancelled, runs = [], []
    worker.every(0.01, "task", lambda: runs.append(1))
    worker.every(0.05, "cancelled", lambda: cancelled.append(1))
    worker.cancel("cancelled")
    worker.cancel("never there")

    wait_until(lambda: len(runs) >= 10)

    assert not cancelled


def test_a_task_of_the_same_name_is_replaced(worker):
    old, new = [], []
    worker.every(0.02, "task", lambda: old.append(1), start=False)
    worker.every(0.01, "task", lambda: new.append(1))

    wait_until(lambda: len(new) >= 5)

    assert not old


def test_many_threads_that_start_it_at_once_start_one_thread(worker):
    barrier = threading.Barrier(8)

    def start():
        barrier.wait()
        worker.every(3600, "task", lambda: None)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [thread.name for thread in threading.enumerate()].count("test-worker") == 1


def test_closing_ends_the_thread_and_can_be_done_twice(worker):
    worker.every(0.01, "task", lambda: None)

    worker.close()
    worker.close()
    worker.every(0.01, "task", lambda: None)

    assert not worker.alive


def test_a_task_may_close_its_own_worker(worker):
    worker.every(0.01, "task", worker.close)
    thread = worker._thread

    wait_until(lambda: not thread.is_alive())


def test_a_thread_that_cannot_be_started_is_reported_and_tried_again(worker, caplog, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        worker.every(0.01, "task", lambda: None)
    assert not worker.alive
    assert "can't start new thread" in caplog.text

    worker.ensure_started()

    assert worker.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_its_own_thread_when_it_next_needs_one(worker):
    runs = []
    worker.every(0.01, "task", lambda: runs.append(1))
    wait_until(lambda: runs)

    child = os.fork()
    if child == 0:
        before = worker.alive
        runs.clear()
        worker.ensure_started()
        deadline = time.monotonic() + 10
        while not runs and time.monotonic() < deadline:
            time.sleep(0.005)
        os._exit(0 if runs and not before else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert worker.alive


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_the_lock_is_held_is_not_stuck(worker):
    worker.every(3600, "task", lambda: None)

    with worker._lock:
        child = os.fork()
        if child == 0:
            worker.every(3600, "another", lambda: None)
            os._exit(0 if worker.alive else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def test_the_thread_is_stopped_at_exit_and_does_not_hold_the_process():
    program = """
import atexit
atexit.register(lambda: print(alive, thread.is_alive()))  # what is registered first comes last
from otel_ratelimit.core.background import BackgroundWorker
worker = BackgroundWorker()
worker.every(0.01, "task", lambda: None)
alive = worker.alive
thread = worker._thread
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 0
    assert ended.stdout.split() == ["True", "False"]
    assert ended.stderr == ""


def test_one_that_ends_later_runs_its_tasks_until_then(worker):
    ran = threading.Event()
    worker.every(0.05, "task", ran.set)
    thread = worker._thread
    worker.end_in(0.2)
    thread.join(10)
    assert not thread.is_alive()
    assert ran.is_set()
    worker.ensure_started()
    assert not worker.alive


def test_one_that_never_started_ends_at_once(worker):
    worker.every(3600, "task", lambda: None, start=False)
    worker.end_in(10)
    worker.ensure_started()
    assert not worker.alive
