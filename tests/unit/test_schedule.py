"""The scheduler does its work, and once more where that failed, until it is stopped."""

from __future__ import annotations

import threading
from datetime import UTC, time, timedelta

import pytest

from otel_ratelimit.reports.schedule import Schedule

PATIENCE_SECONDS = 10.0


class Work:
    """Begins, waits until it may end, and ends as told."""

    def __init__(self, *ends):
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.ended = 0
        self._ends = list(ends)

    def __call__(self):
        self.begun.set()
        assert self.may_end.wait(PATIENCE_SECONDS)
        end = self._ends.pop(0)
        self.ended += 1
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def running():
    """`running(work)`: a schedule that runs in a thread, the thread, and what is told."""
    made = []

    def start(work):
        told = []
        schedule = Schedule(work, time(0, 15), UTC, tell=told.append, retry=timedelta())
        thread = threading.Thread(target=schedule.run)
        made.append((schedule, thread))
        thread.start()
        return schedule, thread, told

    yield start
    for schedule, thread in made:
        schedule.stop()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_what_is_being_done_when_it_is_stopped_is_done_before_it_returns(running):
    work = Work(True)
    schedule, thread, told = running(work)
    assert work.begun.wait(PATIENCE_SECONDS)

    schedule.stop()
    schedule.stop()
    threading.Timer(0.05, work.may_end.set).start()
    thread.join(PATIENCE_SECONDS)

    assert not thread.is_alive()
    assert (work.ended, told) == (1, [])


def test_one_that_is_stopped_before_it_runs_returns():
    work = Work(True)
    work.may_end.set()
    schedule = Schedule(work, time(0, 15), UTC, tell=lambda _: None)
    schedule.stop()
    schedule.run()
    assert work.ended <= 1


@pytest.mark.parametrize("failed", [False, ZeroDivisionError()])
def test_work_that_is_not_done_or_raises_is_tried_again(running, failed):
    work, done = Work(failed, True), threading.Event()
    work.may_end.set()

    def tried():
        try:
            return work()
        finally:
            if work.ended == 2:
                done.set()

    _, _, told = running(tried)

    assert done.wait(PATIENCE_SECONDS)
    assert told[0].startswith("the run is incomplete; next attempt at ")
