"""Counters in real Redis, through the redis and the valkey client, and in memcached."""

from __future__ import annotations

import random
import threading
import time
from math import ceil

import pytest
from half_over import DAY_OR_TWO
from limits.storage import MemoryStorage, storage_from_string
from redis import Redis
from variants import quick_first

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage import BoundedMemoryStorage, counter_store

CLIENT = "i" + "0" * 32
STRATEGIES = list(Strategy)


def window(amount, seconds=60, strategy=Strategy.FIXED_WINDOW, *, shadow=False, scope="e"):
    return Window(f"n|{scope}|{seconds}|{strategy}|", amount, seconds, strategy, shadow, "", "")


@pytest.fixture(params=["redis", "valkey"])
def store(request, redis):
    uri = redis.uri.replace("redis://", f"{request.param}://")
    return counter_store(storage_from_string(uri), uri, time.time)


@pytest.fixture(params=["memory", pytest.param("memcached", marks=pytest.mark.full)])
def sequential(request):
    if request.param == "memory":
        return counter_store(MemoryStorage(), "memory://", time.time)
    uri = request.getfixturevalue("memcached").uri
    return counter_store(storage_from_string(uri), uri, time.time)


def take(store, windows, cost=1, client=CLIENT):
    return store.take(windows, client, cost, time.time())


def commands_at_the_server(store):
    stats = store._storage.storage.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): entry["calls"]
        for name, entry in stats.items()
        if name in {"cmdstat_evalsha", "cmdstat_eval", "cmdstat_script|load"}
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_limit_holds_and_says_what_is_left(store, strategy):
    plan = [window(3, DAY_OR_TWO, strategy)]
    answers = [take(store, plan) for _ in range(4)]
    assert [answer.allowed for answer in answers] == [True, True, True, False]
    assert [answer.states[0].remaining for answer in answers] == [2, 1, 0, 0]
    assert [answer.states[0].used for answer in answers] == [1, 2, 3, 3]
    assert answers[2].states[0].retry_after == 0.0
    assert 0 < answers[3].states[0].retry_after <= 2 * DAY_OR_TWO
    assert 0 < answers[0].states[0].reset_after <= 2 * DAY_OR_TWO


@pytest.mark.parametrize("count", [1, 2, 4])
def test_it_is_one_round_trip_whatever_the_number_of_windows(store, count):
    plan = [window(100, 60 * (i + 1), STRATEGIES[i % 3]) for i in range(count)]
    take(store, plan)
    before = commands_at_the_server(store)["evalsha"]
    for _ in range(10):
        take(store, plan)
    assert commands_at_the_server(store)["evalsha"] - before == 10


def test_the_server_hears_of_a_request_once_and_of_nothing_else(store, redis):
    plan = [window(1, 60 * (i + 1), STRATEGIES[i % 3], shadow=i == 3) for i in range(4)]
    take(store, plan)
    with Redis(port=redis.port).monitor() as monitor:
        assert not take(store, plan).allowed  # refused
        assert take(store, plan, client="i" + "1" * 32).allowed
        store.peek(plan, CLIENT, 1, 0.0)
        assert store.clear(plan, CLIENT) == 4
        store._storage.storage.ping()
        heard = []
        while heard[-1:] != ["PING"]:
            command = monitor.next_command()
            if command["client_type"] != "lua":
                heard.append(command["command"].split()[0])
    assert heard == ["EVALSHA", "EVALSHA", "EVALSHA", "DEL", "PING"]


def test_a_refused_request_drains_nothing(store):
    plan = [
        window(2, 60),
        window(10, 3600, Strategy.MOVING_WINDOW),
        window(10, DAY_OR_TWO, Strategy.SLIDING_WINDOW_COUNTER),
    ]
    for _ in range(8):
        take(store, plan)
    assert [state.used for state in store.peek(plan, CLIENT, 1, 0.0).states] == [2, 2, 2]


def test_shadow_windows_observe_all_or_none(store):
    plan = [window(5, 60), window(2, 3600, shadow=True), window(9, 7200, shadow=True)]
    answers = [take(store, plan) for _ in range(6)]
    assert [answer.allowed for answer in answers] == [True] * 5 + [False]
    assert [state.used for state in answers[-1].states] == [5, 2, 2]
    assert answers[2].states[1].exceeded


@pytest.mark.parametrize("strategy", quick_first(STRATEGIES))
def test_waiting_retry_after_is_enough_and_much_less_is_not(store, strategy):
    plan = [window(2, 1, strategy)]
    while take(store, plan).allowed:
        pass
    wait = store.peek(plan, CLIENT, 1, 0.0).states[0].retry_after
    assert wait > 0
    before = time.monotonic() + wait
    early = take(store, plan)
    assert not early.allowed or time.monotonic() >= before
    time.sleep(max(0.0, before - time.monotonic()))
    assert take(store, plan).allowed
    assert ceil(wait) >= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_eight_threads_get_exactly_the_limit(store, strategy):
    plan = [window(200, DAY_OR_TWO, strategy), window(1000, 86_400)]
    allowed = []

    def hammer():
        allowed.extend(take(store, plan).allowed for _ in range(60))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allowed.count(True) == 200


def test_every_key_has_a_time_to_live(store):
    plan = [window(5, 60 * (i + 1), strategy) for i, strategy in enumerate(STRATEGIES)]
    take(store, plan)
    client = store._storage.storage
    keys = client.keys("*")
    assert len(keys) == 3
    assert all(0 < client.pttl(key) <= 3 * 180_000 for key in keys)


def test_looking_counts_nothing_and_clearing_forgets(store):
    plan = [window(5, DAY_OR_TWO, strategy) for strategy in STRATEGIES]
    assert store.peek(plan, CLIENT, 1, 0.0).states[0].used == 0
    take(store, plan)
    assert [state.used for state in store.peek(plan, CLIENT, 1, 0.0).states] == [1, 1, 1]
    assert store.clear(plan, CLIENT) == 3
    assert [state.used for state in store.peek(plan, CLIENT, 1, 0.0).states] == [0, 0, 0]


def test_a_cost_of_nothing_and_a_cost_beyond_the_limit(store):
    plan = [window(5)]
    assert take(store, plan, cost=0).states[0].used == 0
    beyond = take(store, plan, cost=6)
    assert (beyond.allowed, beyond.states[0].retry_after) == (False, 60.0)
    assert take(store, plan, cost=5).allowed


def test_it_answers_as_the_in_process_store_does(store):
    local = BoundedMemoryStorage().counters
    rng = random.Random(7)
    plans = [
        [window(20, DAY_OR_TWO, strategy), window(30, 86_400, shadow=rng.random() < 0.5, scope=str(i))]
        for i, strategy in enumerate(STRATEGIES)
    ]
    for _ in range(300):
        plan, cost, client = rng.choice(plans), rng.choice([0, 1, 1, 2, 5]), f"i{rng.randrange(3):032x}"
        ours = local.take(plan, client, cost, time.time())
        theirs = take(store, plan, cost, client)
        assert theirs.allowed == ours.allowed
        assert [s.used for s in theirs.states] == [s.used for s in ours.states]
        assert [s.remaining for s in theirs.states] == [s.remaining for s in ours.states]
        assert [s.exceeded for s in theirs.states] == [s.exceeded for s in ours.states]


def test_a_restarted_server_that_has_lost_the_script_is_no_error(store, redis):
    plan = [window(5)]
    take(store, plan)
    store._storage.storage.script_flush()
    assert take(store, plan).allowed


# --- stores that count call by call ---


def strategies_of(sequential):
    has_moving = hasattr(sequential._storage, "acquire_entry")
    return [s for s in STRATEGIES if has_moving or s is not Strategy.MOVING_WINDOW]


def test_call_by_call_a_limit_holds(sequential):
    for strategy in strategies_of(sequential):
        plan = [window(3, DAY_OR_TWO, strategy)]
        answers = [take(sequential, plan) for _ in range(4)]
        assert [answer.allowed for answer in answers] == [True, True, True, False], strategy
        assert [answer.states[0].remaining for answer in answers] == [2, 1, 0, 0]
        assert answers[3].states[0].retry_after > 0


def test_call_by_call_a_refused_request_drains_nothing(sequential):
    plan = [window(2, 60), window(10, 3600)]
    for _ in range(6):
        take(sequential, plan)
    assert [state.used for state in sequential.peek(plan, CLIENT, 1, time.time()).states] == [2, 2]


def test_call_by_call_threads_never_get_more_than_the_limit(sequential):
    plan = [window(50, 3600), window(1000, 86_400)]
    allowed = []

    def hammer():
        allowed.extend(take(sequential, plan).allowed for _ in range(30))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Never more; a race may give a few fewer.
    assert 40 <= allowed.count(True) <= 50


def test_call_by_call_shadow_windows_observe(sequential):
    plan = [window(5, 60), window(2, 3600, shadow=True)]
    answers = [take(sequential, plan) for _ in range(6)]
    assert [answer.allowed for answer in answers] == [True] * 5 + [False]
    assert answers[2].states[1].exceeded
    assert answers[-1].states[1].used == 2


def test_call_by_call_clearing_forgets(sequential):
    plan = [window(2, 60)]
    while take(sequential, plan).allowed:
        pass
    assert sequential.clear(plan, CLIENT) == 1
    assert take(sequential, plan).allowed
