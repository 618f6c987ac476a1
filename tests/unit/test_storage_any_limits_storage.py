"""Stores that count call by call, when another request comes between the calls."""

from __future__ import annotations

import time

import pytest
from limits.storage import MemoryStorage

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.any_limits_storage import SequentialStore

CLIENT = "i" + "0" * 32


def window(amount, seconds, strategy=Strategy.FIXED_WINDOW, *, shadow=False):
    return Window(f"n|e|{seconds}|{strategy}|", amount, seconds, strategy, shadow, "", "")


class Raced(MemoryStorage):
    """Lets something happen once, after the next count."""

    def __init__(self):
        super().__init__()
        self.between = None

    def incr(self, *arguments):
        answer = super().incr(*arguments)
        happens, self.between = self.between, None
        if happens is not None:
            happens()
        return answer


class Clock:
    ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@pytest.fixture
def storage():
    return Raced()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(storage, clock):
    return SequentialStore(storage, "memory", clock)


def used(store, *windows):
    return [state.used for state in store.peek(windows, CLIENT, 0, time.time()).states]


@pytest.mark.parametrize("last", [window(1, 3600), window(1, 3600, Strategy.MOVING_WINDOW)])
def test_who_loses_a_race_for_the_last_unit_gets_the_others_back(store, storage, last):
    first = window(10, 60)
    storage.between = lambda: store.take([last], CLIENT, 1, time.time())
    lost = store.take([first, last], CLIENT, 1, time.time())
    assert not lost.allowed
    assert lost.states[1].retry_after > 0
    assert used(store, first, last) == [0, 1]


def test_shadow_windows_that_lose_a_race_are_given_back_and_the_request_is_allowed(store, storage):
    enforced, free, full = window(10, 60), window(10, 600, shadow=True), window(1, 3600, shadow=True)
    storage.between = lambda: store.take([full], CLIENT, 1, time.time())
    assert store.take([enforced, free, full], CLIENT, 1, time.time()).allowed
    assert used(store, enforced, free, full) == [1, 0, 1]


def test_nothing_is_given_back_when_the_window_may_have_ended(store, storage, clock):
    first, last = window(10, 60), window(1, 3600)

    def slow():
        store.take([last], CLIENT, 1, time.time())
        clock.ahead = 59.5

    storage.between = slow
    assert not store.take([first, last], CLIENT, 1, time.time()).allowed
    assert used(store, first) == [1]


def test_a_window_given_back_whole_is_not_taken_for_one_that_began_later(store, storage, clock):
    first, last = window(10, 60), window(1, 3600)
    store.take([first], CLIENT, 1, time.time())
    storage.decr(first.prefix + CLIENT, 1)  # its count is 0, and it ends when it would have

    def slow():
        store.take([last], CLIENT, 1, time.time())
        clock.ahead = 60.5

    clock.ahead = 30.0
    storage.between = slow
    assert not store.take([first, last], CLIENT, 1, time.time()).allowed
    assert used(store, first) == [1]
