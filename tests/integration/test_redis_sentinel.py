"""Redis behind a real Sentinel: found through it, followed when the master changes, never waited for."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from limits.storage import storage_from_string
from redis import Redis
from variants import quick_first

from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage import CircuitBreaker, counter_store, storage_options
from otel_ratelimit.storage.client_options import STORAGE_TIMEOUT_SECONDS

CLIENT = "i" + "0" * 32
PLAN = [Window(f"n|e|86400|{strategy}|", 9, 86_400, strategy, False, "", "") for strategy in Strategy]


def opened(uri):
    return counter_store(storage_from_string(uri, **storage_options(uri)), uri, time.time)


@pytest.fixture(params=["redis", "valkey"])
def uri(request, sentinel):
    return sentinel.uri.replace("redis", request.param, 1)


def test_the_master_that_a_sentinel_names_counts(uri, redis):
    assert [opened(uri).take(PLAN, CLIENT, 1, 0.0).states[0].used for _ in range(3)] == [1, 2, 3]
    assert Redis(port=redis.port).dbsize() == len(PLAN)


@pytest.mark.parametrize("silence", quick_first(["pause", "stop"]))
def test_a_sentinel_that_does_not_answer_is_not_waited_for(uri, sentinel, silence):
    store = opened(uri)
    getattr(sentinel, silence)()
    waited = []
    try:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Exception, match="No master found"):
                store.take(PLAN, CLIENT, 1, 0.0)
            waited.append(time.monotonic() - began)
    finally:
        sentinel.resume()
    assert min(waited) < 3 * STORAGE_TIMEOUT_SECONDS  # the machine itself only adds to it


def test_when_the_master_has_gone_the_one_counts_that_the_sentinel_names_next(
    uri, redis, other_redis, sentinel
):
    store = CircuitBreaker(opened(uri), retry_seconds=0.05)
    assert [store.take(PLAN, CLIENT, 1, 0.0).states[0].used for _ in range(2)] == [1, 2]
    redis.stop()
    with pytest.raises(StorageUnavailableError):
        store.take(PLAN, CLIENT, 1, 0.0)

    asked = Redis(port=sentinel.port)
    asked.execute_command("SENTINEL", "REMOVE", "shop")
    asked.execute_command("SENTINEL", "MONITOR", "shop", "127.0.0.1", other_redis.port, 1)
    deadline = time.monotonic() + 10
    while True:
        try:
            answer = store.take(PLAN, CLIENT, 1, 0.0)
            break
        except StorageUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert [state.used for state in answer.states] == [1, 1, 1]
    assert Redis(port=other_redis.port).dbsize() == len(PLAN)


def test_a_master_that_lives_on_as_a_replica_is_left(uri, redis, other_redis, sentinel):
    store = CircuitBreaker(opened(uri), retry_seconds=0.05)
    assert [store.take(PLAN, CLIENT, 1, 0.0).states[0].used for _ in range(2)] == [1, 2]
    Redis(port=redis.port).execute_command("REPLICAOF", "127.0.0.1", other_redis.port)
    asked = Redis(port=sentinel.port)
    asked.execute_command("SENTINEL", "REMOVE", "shop")
    asked.execute_command("SENTINEL", "MONITOR", "shop", "127.0.0.1", other_redis.port, 1)
    with pytest.raises(StorageUnavailableError) as caught:
        store.take(PLAN, CLIENT, 1, 0.0)
    assert caught.value.error_type == "readonly"
    deadline = time.monotonic() + 10
    while Redis(port=other_redis.port).dbsize() == 0:
        assert time.monotonic() < deadline
        with suppress(StorageUnavailableError):
            store.take(PLAN, CLIENT, 1, 0.0)
        time.sleep(0.02)
