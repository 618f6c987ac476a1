"""The memory of a counter in Redis, expired counters, and a cluster of three nodes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from itertools import pairwise

import pytest
from limits.storage import storage_from_string

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.demo.ports import quiet_ports
from otel_ratelimit.storage import CircuitBreaker, counter_store, storage_options
from otel_ratelimit.storage.client_options import STORAGE_TIMEOUT_SECONDS

CLIENT = "i" + "0" * 32
FIXED, MOVING = Strategy.FIXED_WINDOW, Strategy.MOVING_WINDOW


def window(amount, seconds, strategy):
    return Window(f"n|*:rule=POST /api/*|{seconds}|{strategy}|", amount, seconds, strategy, False, "", "")


def opened(uri):
    return counter_store(storage_from_string(uri, **storage_options(uri)), uri, time.time)


def test_expired_units_are_not_reported_to_a_request_that_can_never_be_taken(redis):
    store = opened(redis.uri)
    plan = [window(5, 1, Strategy.MOVING_WINDOW)]
    assert store.take(plan, CLIENT, 3, 0.0).allowed
    deadline = time.monotonic() + 10
    while store.peek(plan, CLIENT, 0, 0.0).states[0].reset_after > 0.4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert store.take(plan, CLIENT, 2, 0.0).allowed  # the key outlives the first three units
    while (used := store.take(plan, CLIENT, 6, 0.0).states[0].used) == 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert used == 2


def test_in_no_second_is_more_taken_than_the_limit_of_a_second(redis):
    store, limit = opened(redis.uri), 5
    plans = {strategy: [window(limit, 1, strategy)] for strategy in (FIXED, MOVING)}
    taken = {strategy: [] for strategy in plans}
    deadline = time.monotonic() + 10
    while any(len(moments) < 2 * limit + 1 for moments in taken.values()):
        assert time.monotonic() < deadline
        for strategy, plan in plans.items():
            before = time.time()
            if store.take(plan, CLIENT, 1, 0.0).allowed:
                taken[strategy].append((before, time.time()))
    # Fixed windows begin with their first unit; keys expire by the millisecond.
    begins = taken[FIXED][::limit]
    assert all(after - before >= 0.998 for (before, _), (_, after) in pairwise(begins))
    moments = taken[MOVING]
    assert all(
        after - before >= 0.998 for (before, _), (_, after) in zip(moments, moments[limit:], strict=False)
    )


def test_a_unit_of_a_moving_window_takes_a_dozen_bytes_at_most(redis):
    store = opened(redis.uri)
    assert store.take([window(10_000, 3600, Strategy.MOVING_WINDOW)], CLIENT, 10_000, 0.0).allowed
    client = store._storage.storage
    (key,) = client.keys("*")
    assert client.llen(key) == 10_000
    assert client.memory_usage(key, samples=0) < 120_000


def test_a_moving_window_never_holds_more_than_its_limit(redis):
    store = opened(redis.uri)
    plan = [window(7, 3600, Strategy.MOVING_WINDOW)]
    for _ in range(20):
        store.take(plan, CLIENT, 2, 0.0)
    client = store._storage.storage
    (key,) = client.keys("*")
    assert client.llen(key) == 6


@pytest.mark.parametrize("family", ["redis", "valkey"])
def test_a_server_killed_under_load_is_one_kind_of_error_to_all_and_counts_again_when_it_is_back(
    redis, family
):
    failures = []
    store = CircuitBreaker(
        opened(redis.uri.replace("redis", family, 1)), on_error=failures.append, retry_seconds=0.05
    )
    plan = [window(300, 86_400, Strategy.FIXED_WINDOW), window(9999, 86_400, Strategy.MOVING_WINDOW)]
    allowed, errors, others = [], [], []
    started, restarted, stopped = threading.Event(), threading.Event(), threading.Event()

    def hammer():
        while not stopped.is_set():
            # Asked before: a thread may be late with an answer of the old server.
            of_the_new = restarted.is_set()
            try:
                allowed.append((of_the_new, store.take(plan, CLIENT, 1, 0.0).allowed))
            except StorageUnavailableError as error:
                errors.append(error.error_type)
            except BaseException as error:  # none may come
                others.append(error)
            if len(allowed) > 100:
                started.set()

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert started.wait(20)
        redis.stop()
        until_true(lambda: len(errors) > 100)
        restarted.set()
        redis.start()
        answered = len(allowed)
        until_true(lambda: len(allowed) > answered + 1000)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert others == []
    assert set(errors) <= {"connection", "timeout", "loading"}
    assert 1 <= len(failures) < len(errors)
    assert allowed.count((True, True)) <= 300
    assert not store.take(plan, CLIENT, 1, 0.0).allowed
    assert store.peek(plan, CLIENT, 1, 0.0).states[0].used == 300


# --- a cluster ---


def until_true(question, seconds=20):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def until(answer, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return answer()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(installed, tmp_path_factory):
    """`host:port` of three nodes, joined, each with its process."""
    server, cli = installed("redis-server", "redis-server"), installed("redis-cli", "redis-tools")
    ports = quiet_ports(6)
    nodes = [f"127.0.0.1:{port}" for port in ports[:3]]
    processes = [
        subprocess.Popen(
            [
                *(server, "--bind", "127.0.0.1", "--save", "", "--port", str(port)),
                *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
            ],
            cwd=tmp_path_factory.mktemp("node"),
            stdout=subprocess.DEVNULL,
        )
        for port, bus in zip(ports[:3], ports[3:], strict=True)
    ]
    try:
        for port in ports[:3]:
            until(lambda port=port: socket.create_connection(("127.0.0.1", port), 1).close())
        create = [cli, "--cluster", "create", *nodes, "--cluster-yes"]
        subprocess.run(create, check=True, stdout=subprocess.DEVNULL, timeout=30)
        yield dict(zip(nodes, processes, strict=True))
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("family", ["redis", "valkey"])
def test_in_a_cluster_all_counters_of_a_client_lie_on_one_node_and_clients_are_spread(cluster, family):
    store = until(lambda: opened(f"{family}+cluster://{','.join(cluster)}"))
    plan = [window(3, 60 * (at + 1), strategy) for at, strategy in enumerate(Strategy)]
    client = store._storage.storage
    slots = set()
    for number in range(12):
        name = f"i{number:032x}"
        answers = [until(lambda name=name: store.take(plan, name, 1, 0.0)).allowed for _ in range(4)]
        assert answers == [True, True, True, False]
        used = {client.keyslot(key) for key in store._keys(plan, name)}
        assert len(used) == 1
        slots |= used
        assert store.clear(plan, name) == 3
    assert len({slot * 3 // 16_384 for slot in slots}) == 3


@pytest.mark.parametrize("family", ["redis", "valkey"])
def test_a_silent_node_of_a_cluster_is_asked_once_only(cluster, family):
    store = until(lambda: opened(f"{family}+cluster://{','.join(cluster)}"))
    plan = [window(9, 60, Strategy.FIXED_WINDOW)]
    until(lambda: store.take(plan, CLIENT, 1, 0.0))
    (key,) = store._keys(plan, CLIENT)
    node = store._storage.storage.get_node_from_key(key).name
    cluster[node].send_signal(signal.SIGSTOP)
    os.waitpid(cluster[node].pid, os.WUNTRACED)  # else it may still answer
    waited = []
    try:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Exception, match=r"(?i)time"):
                store.take(plan, CLIENT, 1, 0.0)
            waited.append(time.monotonic() - began)
    finally:
        cluster[node].send_signal(signal.SIGCONT)
    assert min(waited) < 3 * STORAGE_TIMEOUT_SECONDS  # the machine itself only adds to it
    until(lambda: store.take(plan, CLIENT, 1, 0.0))
