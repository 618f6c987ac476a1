"""A real Redis and a real Valkey that can count for nobody: left alone for a while and connected to again."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from redis import Redis, RedisError
from redis_faults import CLIENT, ON_ERROR, admin, errors, every_path, failure, get, opened, until, window

from otel_ratelimit import DecisionKind
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage import CircuitBreaker

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
