"""What a real Redis and a real Valkey answer when they cannot count, and who suffers from it.

A server that can count for nobody is left alone for a while and connected to again. A key that is broken
is its client's affair, and a full memory is that of clients who have no counter yet.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import flask
import pytest
from limits.storage import storage_from_string
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis import Redis, RedisError
from variants import quick_first

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.core import names
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.storage import CircuitBreaker, counter_store, storage_options

POLICY = """
version = 1
[tiers]
default = "5/minute; 100/hour"
[identity]
[[routes]]
match = "/open"
limits = "5/minute; 100/hour"
on_error = "open"
"""
ON_ERROR = {"closed": 503, "open": 200}
CLIENT = "i" + "0" * 32
every_path = pytest.mark.parametrize("path", quick_first(ON_ERROR))


def window(strategy, amount=9, seconds=86_400, scope="e"):
    return Window(f"n|{scope}|{seconds}|{strategy}|", amount, seconds, strategy, False, "", "")


def admin(server):
    return Redis(port=server.port, retry=None)


def opened(uri, **options):
    return counter_store(storage_from_string(uri, **storage_options(uri), **options), uri, time.time)


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def decisions():
    return []


@pytest.fixture
def serve(reader, decisions):
    """`serve(uri)`: an application that counts there."""
    serving = []

    def start(uri, policy=POLICY, **arguments):
        app = flask.Flask("shop")
        for name in ON_ERROR:
            app.add_url_rule(f"/{name}", name, lambda: "ok")
        rate_limit = RateLimit(
            app,
            policy=parse_policy(policy, "errors.toml"),
            storage_uri=uri,
            trusted_proxies="127.0.0.1/32",
            environ={},
            sinks=[decisions.append],
            meter_provider=MeterProvider(metric_readers=[reader]),
            **arguments,
        )
        serving.append(rate_limit)
        return app

    yield start
    for rate_limit in serving:
        rate_limit.close()


def get(app, path, client="10.0.0.1", times=1):
    asked = app.test_client()
    return [asked.get(f"/{path}", headers={"X-Forwarded-For": client}).status_code for _ in range(times)]


def errors(reader):
    return {
        point.attributes[names.ERROR_TYPE]: point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == names.STORAGE_ERRORS
        for point in metric.data.data_points
    }


def until(answer, wanted, seconds=10):
    """What `answer` gave, the last of it `wanted`."""
    deadline = time.monotonic() + seconds
    seen = [answer()]
    while seen[-1] != wanted:
        assert time.monotonic() < deadline, seen[-5:]
        time.sleep(0.02)
        seen.append(answer())
    return seen


# A server that can count for nobody


def demote(server, master):
    """Make `server` a replica that is up to date; its connections stay."""
    asked = admin(server)
    asked.execute_command("REPLICAOF", "127.0.0.1", master.port)
    until(lambda: asked.info("replication")["master_link_status"], "up")


@every_path
def test_a_name_that_leads_to_another_master_is_followed_though_the_old_one_answers(
    engine, proxy, serve, reader, path
):
    old, new = engine(), engine("--repl-diskless-sync-delay", "0")
    proxy.to = old.port
    app = serve(old.uri.replace(str(old.port), str(proxy.port)))
    assert get(app, path) == [200]
    demote(old, new)
    proxy.to = new.port
    assert get(app, path) == [ON_ERROR[path]]
    assert errors(reader) == {"readonly": 1}
    until(lambda: get(app, path, "10.0.0.3"), [429])  # counted, and not only let through
    assert admin(new).dbsize() > 0
    assert sum(errors(reader).values()) <= 3


def test_no_connection_of_the_pool_is_left_with_the_old_master(engine, proxy):
    old, new = engine(), engine("--repl-diskless-sync-delay", "0")
    proxy.to = old.port
    counters = opened(old.uri.replace(str(old.port), str(proxy.port)))
    store = CircuitBreaker(counters, retry_seconds=0.0)
    plan = [window(Strategy.FIXED_WINDOW, 10_000)]
    pool = counters._storage.storage.connection_pool
    taken = [pool.get_connection("EVALSHA") for _ in range(8)]
    for connection in taken:
        pool.release(connection)
    demote(old, new)
    proxy.to = new.port
    assert failure(store, plan) == "readonly"
    for _ in range(20):
        assert store.take(plan, CLIENT, 1, 0.0).allowed


def test_a_limit_declared_with_a_decorator_follows_too(engine, proxy, serve, reader):
    old, new = engine(), engine("--repl-diskless-sync-delay", "0")
    proxy.to = old.port
    app = serve(old.uri.replace(str(old.port), str(proxy.port)))
    limiter = app.extensions["otel_ratelimit"].limiter

    @app.get("/declared")
    @limiter.limit("3/minute")
    def declared():
        return "ok"

    assert get(app, "declared") == [200]
    demote(old, new)
    proxy.to = new.port
    assert get(app, "declared") == [503]
    assert errors(reader) == {"readonly": 1}
    until(lambda: get(app, "declared"), [429])


@every_path
def test_a_limit_declared_with_a_decorator_is_what_on_error_says(engine, serve, reader, decisions, path):
    server = engine()
    app = serve(server.uri)
    limiter = app.extensions["otel_ratelimit"].limiter
    entered = []

    @limiter.limit("3/minute")
    def declared():
        entered.append(1)
        return "ok"

    app.view_functions[path] = declared
    assert get(app, path) == [200]
    admin(server).execute_command(*STATES["readonly"][0].split())
    decisions.clear()
    assert get(app, path, times=4) == [ON_ERROR[path]] * 4
    assert len(entered) == (5 if path == "open" else 1)
    assert {(d.kind, d.error_type, d.plan.on_error) for d in decisions} == {
        (DecisionKind.ERROR, "readonly", path)
    }
    admin(server).execute_command(*STATES["readonly"][1].split())
    until(lambda: get(app, path), [429])


@pytest.mark.parametrize("on_error", ON_ERROR)
def test_a_declared_limit_that_stands_for_the_default_tier_is_too(engine, serve, decisions, on_error):
    server = engine()
    app = serve(server.uri, f'version = 1\non_error = "{on_error}"\n[tiers]\ndefault = "5/minute"\n')
    limiter = app.extensions["otel_ratelimit"].limiter
    app.add_url_rule("/declared", view_func=limiter.limit("3/minute")(lambda: "ok"), endpoint="declared")
    assert get(app, "declared") == [200]
    admin(server).execute_command(*STATES["readonly"][0].split())
    decisions.clear()
    assert get(app, "declared", times=4) == [ON_ERROR[on_error]] * 4
    assert {(d.kind, d.error_type) for d in decisions} == {(DecisionKind.ERROR, "readonly")}


def test_a_fault_of_the_applications_own_cost_is_no_reason_to_let_it_through(engine, serve):
    app = serve(engine().uri, 'version = 1\non_error = "open"\n[tiers]\ndefault = "5/minute"\n')
    limiter = app.extensions["otel_ratelimit"].limiter

    def cost():
        raise LookupError("a price list")

    app.view_functions["open"] = limiter.limit("3/minute", cost=cost)(lambda: "ok")
    assert get(app, "open") == [503]


def test_an_error_of_the_applications_own_key_function_is_not_the_stores(engine, serve, reader):
    app = serve(engine().uri)
    limiter = app.extensions["otel_ratelimit"].limiter

    def unreachable():
        raise ConnectionError("a user directory")

    @app.get("/declared")
    @limiter.limit("3/minute", key_func=unreachable)
    def declared():
        return "ok"

    assert get(app, "declared") == [200]
    assert get(app, "closed") == [200]
    assert errors(reader) == {}


STATES = {
    "readonly": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "no_replicas": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
}


@every_path
@pytest.mark.parametrize("error_type", STATES)
def test_a_state_of_the_server_pauses_all_and_ends_when_it_ends(engine, serve, reader, path, error_type):
    state, undo = STATES[error_type]
    server = engine()
    app = serve(server.uri)
    assert get(app, path) == [200]
    admin(server).execute_command(*state.split())
    assert get(app, path, times=5) == [ON_ERROR[path]] * 5
    assert errors(reader).keys() == {error_type}
    assert errors(reader)[error_type] < 5, "asked once, and then left alone"
    admin(server).execute_command(*undo.split())
    until(lambda: get(app, path, "10.0.0.9"), [429])


@every_path
def test_a_replica_without_its_master_is_not_believed(engine, serve, reader, path):
    server = engine("--replica-serve-stale-data", "no")
    app = serve(server.uri)
    assert get(app, path) == [200]
    admin(server).execute_command("REPLICAOF", "127.0.0.1", 1)
    assert get(app, path, times=3) == [ON_ERROR[path]] * 3
    assert errors(reader).keys() == {"master_down"}
    admin(server).execute_command("REPLICAOF", "NO", "ONE")
    until(lambda: get(app, path, "10.0.0.9"), [429])


@every_path
def test_a_server_that_loads_its_data_is_waited_for_by_nobody(engine, serve, reader, path):
    slowly = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]
    server = engine(*slowly, "--rdbcompression", "no")
    app = serve(server.uri)
    filler = admin(server)
    for number in range(60):
        filler.set(f"filler-{number}", "x" * 2000)
    assert get(app, path) == [200]
    filler.save()
    server.stop()
    server.start()
    until(lambda: get(app, path) == [ON_ERROR[path]] and "loading" in errors(reader), wanted=True)
    until(lambda: get(app, path, "10.0.0.9"), [429])


@every_path
def test_a_server_that_runs_somebodys_endless_script_is_left_alone_until_it_ends(engine, serve, reader, path):
    server = engine("--lua-time-limit", "10")
    app = serve(server.uri)
    assert get(app, path) == [200]
    other = admin(server).connection_pool.get_connection()
    other.send_command("EVAL", "while true do end", 0)
    until(lambda: get(app, path) == [ON_ERROR[path]] and "busy" in errors(reader), wanted=True)
    admin(server).script_kill()
    other.disconnect()
    until(lambda: get(app, path, "10.0.0.9"), [429])


@every_path
def test_a_server_that_cannot_save_refuses_writes_and_is_asked_again(engine, serve, reader, path):
    server = engine("--dbfilename", "a-folder")
    app = serve(server.uri)
    assert get(app, path) == [200]
    asked = admin(server)
    (Path(asked.config_get("dir")["dir"]) / "a-folder").mkdir()  # which a file cannot replace
    asked.config_set("save", "3600 1")
    asked.bgsave()
    until(lambda: asked.info("persistence")["rdb_last_bgsave_status"], "err")
    assert get(app, path, times=5) == [ON_ERROR[path]] * 5
    assert errors(reader).keys() == {"persistence"}
    asked.config_set("stop-writes-on-bgsave-error", "no")
    until(lambda: get(app, path, "10.0.0.9"), [429])


@every_path
def test_a_password_that_was_changed_fails_all_and_is_taken_when_it_is_back(engine, serve, reader, path):
    server = engine("--requirepass", "first")
    app = serve(server.uri.replace("://", "://:first@"))
    assert get(app, path) == [200]
    asked = Redis(port=server.port, password="first", retry=None)
    asked.config_set("requirepass", "second")
    assert get(app, path) == [200], "a connection that has given its password stays good"
    asked.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(lambda: get(app, path), [ON_ERROR[path]])
    until(lambda: "authentication" in errors(reader) or get(app, path) is None, wanted=True)
    asked.config_set("requirepass", "first")
    until(lambda: get(app, path, "10.0.0.9"), [429])


@every_path
def test_a_server_without_a_connection_to_spare_is_tried_again(engine, serve, reader, path):
    server = engine("--maxclients", "3")
    busy = [admin(server) for _ in range(3)]
    for client in busy:
        until(lambda client=client: answers(client), wanted=True)
    app = serve(server.uri)
    until(lambda: get(app, path) == [ON_ERROR[path]] and "max_clients" in errors(reader), wanted=True)
    for client in busy:
        client.close()
    until(lambda: get(app, path, "10.0.0.9"), [429])


def answers(client):
    try:
        return client.ping()
    except RedisError:
        return False


def single_node_cluster(engine):
    """A cluster of one node that has all slots, and says its own address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        bus = str(probe.getsockname()[1])
    server = engine("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port", bus)
    admin(server).execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    until(lambda: admin(server).cluster("info")["cluster_state"], "ok")
    return server


@pytest.mark.full
def test_a_cluster_all_of_whose_addresses_have_changed_is_found_again_by_its_name(engine, proxy):
    old, new = single_node_cluster(engine), single_node_cluster(engine)
    proxy.to = old.port
    uri = f"{engine.family}+cluster://127.0.0.1:{proxy.port}"
    store = CircuitBreaker(opened(uri), retry_seconds=0.0)
    plan = [window(Strategy.FIXED_WINDOW)]
    assert failure(store, plan) == ""
    old.stop()
    proxy.to = new.port
    until(lambda: failure(store, plan), "")
    assert admin(new).dbsize() == 1


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


def failure(store, plan, client=CLIENT):
    try:
        store.take(plan, client, 1, 0.0)
    except StorageUnavailableError as error:
        return error.error_type
    return ""


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
