"""A key in Redis that is broken concerns its client alone."""

from __future__ import annotations

import pytest
from redis_faults import CLIENT, ON_ERROR, admin, errors, every_path, failure, get, opened, until, window

from otel_ratelimit import DecisionKind
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage import CircuitBreaker

# One client's key


def spoil_counters_of_all(server, with_what, *arguments):
    """Every counter that is there becomes something else."""
    asked = admin(server)
    for key in asked.keys("LIMITS:*"):
        asked.delete(key)
        asked.execute_command(with_what, key, *arguments)


BROKEN = {
    ("LPUSH", "x"): "wrong_type",
    ("HSET", "f", "v"): "wrong_type",
    ("SET", "garbage"): "bad_value",
    ("SET", "1.5"): "bad_value",
    ("SET", ""): "bad_value",
}
every_way = pytest.mark.parametrize("spoilt", BROKEN)


@every_path
@every_way
def test_a_key_that_is_broken_is_its_clients_affair(engine, serve, reader, path, spoilt):
    server = engine()
    app = serve(server.uri)
    assert get(app, path, "10.0.0.1") == [200]
    spoil_counters_of_all(server, *spoilt)
    for _ in range(3):
        assert get(app, path, "10.0.0.1") == [ON_ERROR[path]]
        assert get(app, path, "10.0.0.2") == [200], "others are counted"
    assert get(app, path, "10.0.0.2", times=3) == [200, 200, 429], "and limited"
    assert errors(reader) == {BROKEN[spoilt]: 3}


@every_way
def test_a_broken_key_is_logged_once_with_what_to_do_and_known_of_each_decision(
    engine, serve, decisions, caplog, spoilt
):
    server = engine()
    app = serve(server.uri)
    get(app, "closed")
    spoil_counters_of_all(server, *spoilt)
    decisions.clear()
    assert get(app, "closed", times=3) == [503] * 3
    assert {(d.kind, d.error_type) for d in decisions} == {(DecisionKind.ERROR, BROKEN[spoilt])}
    told = [text for record in caplog.records if BROKEN[spoilt] in (text := record.getMessage())]
    assert len(told) == 1
    assert "delete that key" in told[0]


def test_a_broken_key_gives_no_fresh_budget_and_is_healed_by_a_reset(engine):
    """It is not overwritten: what another has written there is not ours, and a reset is one call."""
    server = engine()
    store = CircuitBreaker(opened(server.uri))
    plan = [window(strategy) for strategy in Strategy]
    store.take(plan, CLIENT, 1, 0.0)
    spoil_counters_of_all(server, "SET", "someone else's")
    before = {key: admin(server).get(key) for key in admin(server).keys("*")}
    with pytest.raises(StorageUnavailableError):
        store.take(plan, CLIENT, 1, 0.0)
    assert {key: admin(server).get(key) for key in admin(server).keys("*")} == before
    assert store.clear(plan, CLIENT) == len(plan)
    assert [state.used for state in store.take(plan, CLIENT, 1, 0.0).states] == [1] * len(plan)


def test_when_one_window_of_a_client_is_broken_nothing_is_taken_from_its_others(engine):
    server = engine()
    store = CircuitBreaker(opened(server.uri))
    plan = [window(Strategy.FIXED_WINDOW, scope=name) for name in ("first", "second", "third")]
    store.take(plan, CLIENT, 1, 0.0)
    (broken,) = admin(server).keys("*third*")
    admin(server).delete(broken)
    admin(server).lpush(broken, "x")
    with pytest.raises(StorageUnavailableError):
        store.take(plan, CLIENT, 1, 0.0)
    assert store.peek(plan[:2], CLIENT, 0, 0.0).states[0].used == 1


def test_a_broken_key_that_is_asked_for_first_after_an_outage_ends_the_pause_for_the_others(engine):
    server = engine()
    store = CircuitBreaker(opened(server.uri), retry_seconds=0.05)
    plan = [window(Strategy.FIXED_WINDOW)]
    store.take(plan, CLIENT, 1, 0.0)
    admin(server).lpush("other", 1)
    server.stop()
    with pytest.raises(StorageUnavailableError):
        store.take(plan, CLIENT, 1, 0.0)
    server.start()
    (key,) = opened(server.uri)._keys(plan, CLIENT)
    admin(server).lpush(key, "x")
    until(lambda: failure(store, plan), "wrong_type")
    assert store.healthy
    assert store.take(plan, "i" + "1" * 32, 1, 0.0).allowed
