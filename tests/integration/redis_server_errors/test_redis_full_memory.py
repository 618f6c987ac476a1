"""A Redis whose memory is full refuses clients that have no counter yet, and no others."""

from __future__ import annotations

import pytest
from redis_faults import CLIENT, ON_ERROR, admin, errors, every_path, failure, get, opened, window

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage import CircuitBreaker

# A full memory


@every_path
def test_a_full_server_refuses_new_clients_only_and_says_so(engine, serve, reader, caplog, path):
    server = engine("--maxmemory-policy", "noeviction")
    app = serve(server.uri)
    assert get(app, path, "10.0.0.1") == [200]
    admin(server).config_set("maxmemory", 1)
    for _ in range(3):
        assert get(app, path, "10.0.0.2") == [ON_ERROR[path]], "a new client is what on_error says"
        assert get(app, path, "10.0.0.1") == [200], "an established one is counted"
    assert get(app, path, "10.0.0.1", times=2) == [200, 429], "and limited, to the unit"
    assert errors(reader) == {"oom": 3}
    told = [record.getMessage() for record in caplog.records if "(oom)" in record.getMessage()]
    assert len(told) == 1
    assert "raise maxmemory" in told[0]
    admin(server).config_set("maxmemory", 0)
    assert get(app, path, "10.0.0.2") == [200], "no pause: at once"


@pytest.mark.parametrize("strategy", Strategy)
def test_on_a_full_server_an_established_counter_counts_to_its_limit_and_keeps_its_end(engine, strategy):
    server = engine("--maxmemory-policy", "noeviction")
    store = CircuitBreaker(opened(server.uri))
    plan = [window(strategy, 5)]
    store.take(plan, CLIENT, 1, 0.0)
    (key,) = admin(server).keys("*")
    ends = admin(server).pexpiretime(key)
    admin(server).config_set("maxmemory", 1)
    assert [store.take(plan, CLIENT, 1, 0.0).allowed for _ in range(6)] == [True] * 4 + [False] * 2
    assert failure(store, plan, "i" + "1" * 32) == "oom"
    assert admin(server).dbsize() == 1
    if strategy == "fixed-window":
        assert admin(server).pexpiretime(key) == ends


@pytest.mark.parametrize("order", [1, -1])
def test_on_a_full_server_a_client_with_one_live_window_is_counted_in_all(engine, order):
    server = engine("--maxmemory-policy", "noeviction")
    store = CircuitBreaker(opened(server.uri))
    lasting, over = (window(Strategy.FIXED_WINDOW, 5, scope=name) for name in ("lasting", "over"))
    store.take([lasting], CLIENT, 1, 0.0)
    admin(server).config_set("maxmemory", 1)
    plan = [lasting, over][::order]
    assert [state.used for state in store.take(plan, CLIENT, 1, 0.0).states] == [2, 1][::order]


def test_a_full_server_can_still_be_asked_and_reset(engine):
    server = engine("--maxmemory-policy", "noeviction")
    store = CircuitBreaker(opened(server.uri))
    plan = [window(Strategy.FIXED_WINDOW)]
    store.take(plan, CLIENT, 1, 0.0)
    admin(server).config_set("maxmemory", 1)
    assert store.peek(plan, CLIENT, 1, 0.0).states[0].used == 1
    assert store.peek(plan, "i" + "1" * 32, 1, 0.0).allowed
    assert store.clear(plan, CLIENT) == 1


def test_a_request_is_one_round_trip_also_when_it_fails(engine):
    server = engine("--maxmemory-policy", "noeviction")
    store = CircuitBreaker(opened(server.uri))
    plan = [window(strategy) for strategy in Strategy]
    store.take(plan, CLIENT, 1, 0.0)
    admin(server).config_set("maxmemory", 1)
    asked = admin(server)
    asked.config_resetstat()
    for client in (CLIENT, "i" + "1" * 32):
        failure(store, plan, client)
    sent = asked.info("commandstats")
    assert sent["cmdstat_evalsha"]["calls"] == 2
    assert "cmdstat_eval" not in sent
    assert "cmdstat_script|load" not in sent
