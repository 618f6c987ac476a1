"""A process that dies at any write leaves the zone as it was before its change, or as it is after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from counter_stores import LOCKS, NOW, client, neighbour, window
from tiny_zones import clients_of, new_counters, plan_of, tiny_store
from torn_writes import deaths
from zone_recount import assert_figures_are_exact, figures, slots_in_use

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.zone.sweep import sweep_page

FIXED = window(5, 60)
HOUR = window(50, 3600)
SLIDING = window(5, 60, Strategy.SLIDING_WINDOW_COUNTER)
BUCKET = window(5, 60, Strategy.TOKEN_BUCKET)
LATER = NOW + 61


pytestmark = pytest.mark.untraced


@dataclass
class Scene:
    """A store, and an operation on it."""

    counters: object
    operation: Callable[[], object]


def take(counters, windows, who, now=NOW):
    return Scene(counters, lambda: counters.take(windows, who, 1, now))


def until(counters, windows, condition, now=NOW, clients=client):
    """Counts clients until `condition` holds for what is planned for the next one; the scene of that one."""
    for n in range(1, 1_000):
        if condition(plan_of(counters, windows, clients(n), now)):
            return take(counters, windows, clients(n), now)
        counters.take(windows, clients(n), 1, now)
    raise AssertionError


def made(*windows, now=NOW):
    def start(counters):
        counters.take(windows, client(), 1, NOW)
        return take(counters, windows, client(), now)

    return start


def expired_slot(counters):
    found = clients_of(counters, FIXED, 0, 0)
    for _ in range(3):
        counters.take([FIXED], next(found), 1, NOW)
    who = next(found)
    assert [bool(each.place.freed.key) for each in new_counters(counters, [FIXED], who, LATER)] == [True]
    return take(counters, [FIXED, SLIDING], who, LATER)


def displaced(counters):
    """Buckets 0 and 1 are full, and one of the counters there can go to bucket 2."""
    full = [(1, 2), *[(1, 1)] * 7, *[(0, 0)] * 8]
    found = {pair: clients_of(counters, FIXED, *pair) for pair in {*full, (0, 1)}}
    for pair in full:
        assert counters.take([FIXED], next(found[pair]), 1, NOW).allowed
    who = next(found[0, 1])
    assert [each.place.moved is not None for each in new_counters(counters, [FIXED], who, NOW)] == [True]
    return take(counters, [FIXED, SLIDING], who)


def new_bucket(counters):
    return until(counters, [FIXED], lambda plan: any(each.is_overflow for each in plan[3].values()))


def old_bucket(counters):
    until(counters, [FIXED], lambda plan: plan[4])
    return until(counters, [FIXED], lambda plan: plan[4] and not plan[3], clients=neighbour)


def last_bucket(counters):
    return until(
        counters,
        [FIXED],
        lambda plan: any(item[2] == item[1].at + 32 for item in plan[0]),
        clients=lambda n: client(n * 7),
    )


def cleared(counters):
    counters.take([FIXED, HOUR], client(), 1, NOW)
    return Scene(counters, lambda: counters.clear([HOUR], client()))


def swept(counters):
    for n in range(6):
        counters.take([FIXED], client(n), 1, NOW)
        counters.take([HOUR], neighbour(n), 1, NOW)
    page = next(iter(slots_in_use(counters.zone)))[0].at - counters.zone.layout.buckets_at >> 12
    return Scene(counters, lambda: sweep_page(counters.zone, page, LATER))


def set_back(counters):
    for strategy in (FIXED, SLIDING, BUCKET):
        counters.take([strategy], client(), 1, NOW + 86_400)
    return Scene(counters, lambda: sweep_page(counters.zone, 0, NOW))


def opened(counters):
    counters.take([HOUR], client(), 1, NOW)
    return Scene(counters, lambda: counters.peek([SLIDING], client(), 1, NOW))


def reopened(counters):
    for n in range(8):
        counters.peek([window(1, 60, scope=f"s{n}")], client(), 1, NOW)
    return Scene(counters, lambda: counters.peek([window(1, 60, scope="new")], client(), 1, NOW))


SCENES = {
    "one window": made(FIXED),
    "two windows": made(FIXED, HOUR),
    "an expired window": made(FIXED, HOUR, now=LATER),
    "a sliding window that begins": made(SLIDING, now=NOW + 60),
    "token buckets": made(BUCKET, SLIDING),
    "one new counter": lambda counters: take(counters, [FIXED], client()),
    "two new counters": lambda counters: take(counters, [FIXED, SLIDING], client()),
    "two windows of one prefix": lambda counters: take(counters, [FIXED, FIXED], client()),
    "an expired slot": expired_slot,
    "a counter that makes way": displaced,
    "a new overflow bucket": new_bucket,
    "an old overflow bucket": old_bucket,
    "the last overflow bucket": last_bucket,
    "clear": cleared,
    "sweep": swept,
    "sweep after the clock was set back": set_back,
    "a new table": opened,
    "a table that is given to another limit": reopened,
}


def contents(counters):
    """What a zone holds, for comparison, without the order in which it lies."""
    zone = counters.zone
    entries = [usage for usage in zone.tables.usage() if usage.counters]
    held = sorted((slot.key, slot.time, slot.word, slot.description) for slot, _ in slots_in_use(zone))
    last = [zone.slot(zone.tables.last_bucket_at(number))[1:] for number in zone.tables.numbers()]
    return held, [each for each in last if each[0]], figures(zone), entries


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("start", SCENES.values(), ids=SCENES)
def test_a_process_that_dies_at_any_write_leaves_the_zone_as_before_or_as_after(kind, start):
    parts = {"buckets": 3, "overflow_buckets": 2, "tables": 8}
    scene = start(tiny_store(kind, lambda: NOW, **parts))
    counters = scene.counters
    memory = counters.zone.memory
    start_of_all = memory[:]
    before = contents(counters)
    assert_figures_are_exact(counters.zone)
    scene.operation()
    after = contents(counters)
    assert_figures_are_exact(counters.zone)
    memory[:] = start_of_all

    seen = []
    for writes in deaths(counters, scene.operation):
        with counters.zone.locked():
            pass

        seen.append(contents(counters))
        assert seen[-1] in (before, after), f"after {writes} writes"
        assert_figures_are_exact(counters.zone)
        assert counters.take([window(3, 60, scope="other")], "i" + 32 * "7", 1, NOW).allowed

    assert seen[0] == before
    assert before == after or seen.count(before) > 0


def test_a_change_that_one_word_tells_is_never_written_twice():
    """Of the two ways to count, the one without the journal is atomic by itself."""
    counters = tiny_store("mutex", lambda: NOW)
    counters.take([FIXED], client(), 1, NOW)

    assert list(deaths(counters, lambda: counters.take([FIXED], client(), 1, NOW))) == [0]


def test_a_recovery_that_is_killed_itself_is_recovered():
    counters = tiny_store("mutex", lambda: NOW)
    windows = [FIXED, HOUR, SLIDING]
    counters.take(windows, client(), 1, NOW)
    memory = counters.zone.memory
    for _ in deaths(counters, lambda: counters.take(windows, client(), 1, NOW)):
        left = memory[:]
        for _ in deaths(counters, lambda: counters.peek(windows, client(), 1, NOW)):
            used = {state.used for state in counters.peek(windows, client(), 1, NOW).states}
            assert len(used) == 1
        memory[:] = left
