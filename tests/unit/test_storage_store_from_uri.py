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
        "memcached://a:1,b:2",
        "memcached:///run/memcached.sock",
        "redis://[::1]:6379/0",
        "redis://localhost",
    ],
)
def test_known_stores_are_accepted(uri):
    assert validate_uri(uri) == []


@pytest.mark.parametrize("uri", ["", "redis", "redis:localhost", "reddis://localhost", "mongodb://x", "://"])
def test_an_unknown_store_is_refused_with_the_list_of_known_ones(uri):
    (problem,) = validate_uri(uri)
    assert problem.where == "OTEL_RATELIMIT_STORAGE_URI"
    assert "bounded-memory://" in problem.instead


@pytest.mark.parametrize(
    ("uri", "nearest"),
    [("reddis://localhost", "redis://"), ("REDIS://localhost", "redis://"), ("valky://x", "valkey://")],
)
def test_the_store_that_was_probably_meant_is_named(uri, nearest):
    (problem,) = validate_uri(uri)
    assert problem.instead.startswith(f"did you mean {nearest}?")


@pytest.mark.parametrize(
    ("uri", "what", "instead"),
    [
        ("redis://", "names no host", "redis://host:port"),
        ("redis:///0", "names no host", "redis://host:port"),
        ("redis://host:port", "has no valid host and port", "redis://host:port"),
        ("redis://host:99999", "has no valid host and port", "redis://host:port"),
        ("redis://[::1", "has no valid host and port", "redis://host:port"),
        ("redis://a:1,b:2", "names several hosts", "redis://host:port"),
        ("redis+cluster://a,b:1", "has a host without a port", "redis+cluster://host1:port,host2:port"),
        ("valkey+sentinel://a:1", "does not say which master", "valkey+sentinel://host:port/master"),
        ("valkey+sentinel://a/m", "has a host without a port", "valkey+sentinel://host:port/master"),
        ("redis+unix://", "names no socket", "redis+unix:///path/to/the/socket"),
        ("memcached://a", "has a host without a port", "memcached://host:port"),
    ],
)
def test_what_a_uri_lacks_is_named_with_the_form_that_is_right(uri, what, instead):
    (problem,) = validate_uri(uri)
    assert what in problem.what
    assert problem.instead == f"write {instead}"


def test_a_missing_client_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = validate_uri("valkey://localhost:1")
    assert problem.instead == 'pip install "otel-ratelimit[redis]"'


def test_passwords_are_never_shown():
    assert redact_uri("redis://user:secret@host:1/0") == "redis://***@host:1/0"
    assert redact_uri("redis://:secret@host:1") == "redis://***@host:1"
    assert redact_uri("redis://host:1") == "redis://host:1"


@pytest.mark.parametrize(
    "uri",
    [
        "redis://user:{}@host:1/0",
        "reddis://user:{}@host:1",
        "redis:user:{}@host",
        "redis://host:1/0?password={}",
        "redis+cluster://user:{}@a,b:port",
        "user:{}@redis://host",
        "redis+unix://:{}@/run/redis.sock",
    ],
)
@pytest.mark.parametrize(
    "password", ["Xsecret", "a/Xsecret", "a@Xsecret", "Xsecret?b", "Xsecret#b", "?Xsecret@b", ""]
)
def test_no_password_is_shown_however_it_is_misspelt(uri, password):
    written = uri.format(password)
    shown = redact_uri(written) + "".join(map(str, validate_uri(written)))
    assert "Xsecret" not in shown
    assert "user" not in shown


@pytest.mark.parametrize("family", ["redis", "valkey"])
def test_sentinels_are_waited_for_no_longer_than_the_store(family):
    options = storage_options(f"{family}+sentinel://host:1/m")
    assert options["socket_timeout"] == 0.25
    assert options["sentinel_kwargs"] == storage_options(f"{family}://host:1")


def test_remote_stores_are_opened_with_short_timeouts():
    assert storage_options("rediss://host:1")["socket_timeout"] == 0.25
    assert storage_options("valkey+cluster://host:1")["socket_connect_timeout"] == 0.25
    assert storage_options("memcached://host:1")["timeout"] == 0.25
    assert storage_options("memory://") == {}
