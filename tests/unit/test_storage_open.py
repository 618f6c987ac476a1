from __future__ import annotations

import pytest

from otel_ratelimit.storage import redact_uri, storage_options, validate_uri


@pytest.mark.parametrize(
    "uri",
    [
        "bounded-memory://",
        "memory://",
        "redis://localhost:6379",
        "rediss://user:secret@host:6380/1",
        "redis+cluster://a:1,b:2",
        "redis+sentinel://a:1/mymaster",
        "redis+unix:///run/redis.sock",
        "valkey://localhost:6379",
        "valkeys://localhost:6379",
        "memcached://localhost:11211",
    ],
)
def test_known_stores_are_accepted(uri):
    assert validate_uri(uri) == []


@pytest.mark.parametrize("uri", ["", "redis", "redis:localhost", "reddis://localhost", "mongodb://x", "://"])
def test_an_unknown_store_is_refused_with_the_list_of_known_ones(uri):
    (problem,) = validate_uri(uri)
    assert problem.where == "OTEL_RATELIMIT_STORAGE_URI"
    assert "bounded-memory://" in problem.instead


def test_a_missing_host_is_named():
    (problem,) = validate_uri("redis://")
    assert "names no host" in problem.what
    assert problem.instead == "write redis://host:port"


def test_a_missing_client_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = validate_uri("valkey://localhost:1")
    assert problem.instead == 'pip install "otel-ratelimit[redis]"'


def test_passwords_are_never_shown():
    assert redact_uri("redis://user:secret@host:1/0") == "redis://***@host:1/0"
    assert redact_uri("redis://:secret@host:1") == "redis://***@host:1"
    assert redact_uri("redis://host:1") == "redis://host:1"
    (problem,) = validate_uri("reddis://user:secret@host:1")
    assert "secret" not in str(problem)


def test_remote_stores_are_opened_with_short_timeouts():
    assert storage_options("rediss://host:1")["socket_timeout"] == 0.25
    assert storage_options("valkey+cluster://host:1")["socket_connect_timeout"] == 0.25
    assert storage_options("memcached://host:1")["timeout"] == 0.25
    assert storage_options("memory://") == {}
