"""The engines that tests and load tests start."""

from __future__ import annotations

import pytest
from processes import runs


@pytest.fixture(params=["redis", "valkey"])
def kind(request):
    return request.param


def test_an_engine_has_the_settings_asked_for_and_keeps_nothing(running_engine, kind):
    with running_engine(kind, maxmemory="8mb", maxmemory_policy="allkeys-lfu", hz=50) as engine:
        with engine.client() as client:
            settings = client.config_get("*")
            about = client.info("server")
        assert settings["maxmemory"] == str(8 << 20)
        assert settings["maxmemory-policy"] == "allkeys-lfu"
        assert settings["hz"] == "50"
        assert (settings["save"], settings["appendonly"], settings["port"]) == ("", "no", "0")
        assert about.get("server_name", "redis") == kind
        assert engine.allocator() in {"jemalloc", "jemalloc-shared", "libc"}


def test_an_engine_ends_with_its_block_whatever_happens_in_it(running_engine, kind):
    class OfTheTestError(Exception):
        pass

    with pytest.raises(OfTheTestError), running_engine(kind) as engine:
        with engine.client() as client:
            pid = client.info("server")["process_id"]
        assert runs(pid)
        raise OfTheTestError
    assert not runs(pid)
    assert not engine.socket.exists()


def test_what_a_server_says_against_its_settings_is_told(engines, running_engine, kind):
    with (
        pytest.raises(engines.EngineError, match=r"(?s)does not answer.*maxmemory-policy"),
        running_engine(kind, maxmemory_policy="oldest"),
    ):
        pass


def test_memory_is_read_after_a_growing_table_has_settled(running_engine, kind):
    with running_engine(kind, enable_debug_command="yes", latency_tracking="no") as engine:
        empty = engine.settled_memory()
        with engine.client() as client:
            pipeline = client.pipeline(transaction=False)
            for number in range(8193):
                pipeline.set(f"key {number}", "value", ex=60)
            pipeline.execute()
        grown = engine.settled_memory()
        assert grown > empty
        assert engine.settled_memory() == pytest.approx(grown, abs=100)
