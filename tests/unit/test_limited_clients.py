"""The time for which a client has been refused without a pause."""

from __future__ import annotations

import pytest

from otel_ratelimit.telemetry.limited_clients import PAUSE_SECONDS, LimitedClients

START = 1_800_000_000.0


class Clock:
    now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limited(clock):
    return LimitedClients(clock, max_clients=3)


def refuse(limited, clock, client, until, every=30.0):
    at = clock.now
    while at <= until:
        limited.refused(client, at)
        at += every
    clock.now = until


def test_nobody_is_limited_at_first(limited):
    assert limited.longest() == 0.0


def test_one_refusal_is_not_yet_a_time(limited, clock):
    limited.refused("a", clock.now)
    assert limited.longest() == 0.0


def test_the_client_refused_longest_counts(limited, clock):
    limited.refused("b", START + 880)
    refuse(limited, clock, "a", START + 900)
    assert limited.longest() == 900.0


def test_a_client_that_paused_starts_again(limited, clock):
    refuse(limited, clock, "a", START + 300)
    clock.now = START + 300 + PAUSE_SECONDS + 1
    assert limited.longest() == 0.0
    refuse(limited, clock, "a", clock.now + 60)
    assert limited.longest() == 60.0


def test_a_pause_of_just_a_minute_is_none(limited, clock):
    limited.refused("a", START)
    clock.now = START + PAUSE_SECONDS
    limited.refused("a", clock.now)
    assert limited.longest() == PAUSE_SECONDS


def test_a_flood_of_new_clients_takes_no_memory_and_hides_nobody(limited, clock):
    limited.refused("a", START)
    for number in range(10_000):
        limited.refused(f"flood-{number}", START + number / 200)
    limited.refused("a", START + 55)
    clock.now = START + 55
    assert limited.longest() == 55.0
    assert len(limited._runs) == 3


def test_there_is_room_again_when_others_have_paused(limited, clock):
    for client in ("a", "b", "c"):
        limited.refused(client, START)
    clock.now = START + PAUSE_SECONDS + 1
    refuse(limited, clock, "d", clock.now + 30)
    assert limited.longest() == 30.0


def test_a_forked_child_begins_with_nobody(limited, clock):
    refuse(limited, clock, "a", START + 300)
    limited.clear()
    assert limited.longest() == 0.0


def test_a_clock_that_is_set_back_makes_no_time_negative_and_none_last(limited, clock):
    refuse(limited, clock, "a", START + 900)
    clock.now = START - 3600
    assert limited.longest() == 0.0
    refuse(limited, clock, "a", clock.now + 90)
    assert limited.longest() == 90.0


def test_a_clock_that_is_set_back_a_little_changes_nothing(limited, clock):
    refuse(limited, clock, "a", START + 900)
    clock.now -= 5
    limited.refused("a", clock.now)
    assert limited.longest() == 900.0


def test_there_is_room_again_when_the_clock_was_set_back(limited, clock):
    for client in ("a", "b", "c", "no room"):
        limited.refused(client, START)
    clock.now = START - 3600
    refuse(limited, clock, "d", clock.now + 30)
    assert limited.longest() == 30.0
