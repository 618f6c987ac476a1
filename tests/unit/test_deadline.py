"""A caller's deadline reaches every step below it, and the steps at the end of a process share one."""

from __future__ import annotations

import math
import threading

import pytest

from otel_ratelimit.core.deadline import is_over, seconds_left, within
from otel_ratelimit.core.lifecycle import SHARE, ExitSteps
from otel_ratelimit.core.waiting import LateLock


def test_without_a_deadline_a_step_has_its_own_limit():
    assert seconds_left() == math.inf
    assert seconds_left(10.0) == 10.0
    assert not is_over()


def test_the_nearest_deadline_holds_and_the_one_before_comes_back():
    with within(60.0):
        with within(5.0):
            assert 4.0 < seconds_left(10.0) <= 5.0
            with within(3600.0):
                assert seconds_left() <= 5.0, "nobody below gets more time than was given"
        assert 5.0 < seconds_left() <= 60.0
        assert seconds_left(1.0) == 1.0
    assert seconds_left() == math.inf


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_over_at_once_and_never_negative(seconds):
    with within(seconds):
        assert is_over()
        assert seconds_left() == seconds_left(5.0) == 0.0


def test_an_error_takes_the_deadline_with_it():
    with pytest.raises(KeyError), within(0.0):
        raise KeyError
    assert not is_over()


def test_another_thread_has_its_own():
    found = []
    with within(0.0):
        thread = threading.Thread(target=lambda: found.append(seconds_left()))
        thread.start()
        thread.join()
    assert found == [math.inf]


def test_a_lock_is_waited_for_until_the_deadline_and_taken_where_it_is_free():
    lock = LateLock()
    with lock, within(0.01):
        assert not lock.acquire_in_time()
    with within(0.0):
        assert lock.acquire_in_time(), "what is free needs no time"
    lock.release()
    assert lock.acquire_in_time()
    lock.release()


class Owner:
    def __init__(self, found):
        self.found = found

    def close(self):
        self.found.append(seconds_left())


def test_the_steps_at_the_end_share_one_deadline_and_leave_time_to_each_other():
    found, steps = [], ExitSteps(8.0)
    owner = Owner(found)
    for _ in range(3):
        steps.take(owner.close)
    assert all(3.5 < left <= 8.0 * SHARE for left in found), "no step took any time"
    steps._ends -= 7.0
    steps.take(owner.close)
    assert found[-1] <= 1.0 * SHARE
    steps._ends -= 7.0
    steps.take(owner.close)
    assert found[-1] == 0.0
    assert seconds_left() == math.inf
