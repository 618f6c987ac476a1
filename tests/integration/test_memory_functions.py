"""How full the store is, asked without saying which: in an application, in a process, and in neither."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

import flask
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import StorageNotMeasuredError
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.policy.identity import Identifier
from otel_ratelimit.policy.identity.remembered_users import MAX_USERS
from otel_ratelimit.storage import (
    BoundedMemoryStorage,
    check_memory_health,
    get_active_keys,
    get_key_distribution,
    get_storage_size,
)
from otel_ratelimit.storage.counters_by_user import highest_first, keys_by_user

POLICY = """
version = 1
[identity]
user = "header:X-User"
[memory]
capacity = "5 MB"
warning = "1 MB"
critical = "2 MB"
[tiers]
default = "100/minute; 1000/hour"
[[routes]]
match = "/jobs"
limits = "100/minute"
key = "user"
"""
ALL = [get_storage_size, get_active_keys, get_key_distribution, check_memory_health]
API = {"api_token": "a-token-that-may-read"}


@pytest.fixture
def make():
    """`make(name, ...)`: an application with limits."""
    made = []

    def make(name="shop", policy=POLICY, **options):
        app = flask.Flask(name)
        app.add_url_rule("/jobs", "jobs.list", lambda: "ok")
        app.add_url_rule("/people", "people", lambda: "ok")
        limit = RateLimit(app, policy=parse_policy(policy, "p.toml"), environ={}, **options)
        made.append(limit)
        return app

    yield make
    for limit in made:
        limit.close()


def visit(app, path, user=None, address="192.0.2.1", times=1):
    headers = {"X-User": user} if user else {}
    for _ in range(times):
        found = app.test_client().get(path, headers=headers, environ_base={"REMOTE_ADDR": address})
        assert found.status_code == 200


def test_within_an_application_they_speak_of_its_store(make):
    app, other = make(), make("other")
    visit(other, "/jobs", address="198.51.100.7")
    with app.app_context():
        empty = get_storage_size()
        assert get_active_keys() == 0
    visit(app, "/jobs")
    visit(app, "/people")
    with app.app_context():
        assert get_active_keys() == 3
        assert get_storage_size() > empty
        assert get_key_distribution().by_endpoint == {"jobs.list": 1, "people": 2}
        assert get_key_distribution().by_client_kind == {"ip": 3}
    with app.test_request_context("/jobs"):
        assert get_active_keys() == 3


def test_health_is_judged_by_the_policy_of_the_application(make):
    app = make()
    visit(app, "/jobs")
    with app.app_context():
        health = check_memory_health()
        assert (health.status, health.capacity_bytes) == ("ok", 5_000_000)
        assert "warning from 1.0 MB, critical from 2.0 MB" in health.message
        assert check_memory_health(warning=1, critical=10**6).status == "warning"
        assert check_memory_health(None, 1, 1).status == "critical"


def test_a_store_that_is_passed_is_the_one_that_is_meant(make):
    storage = BoundedMemoryStorage()
    with make().app_context():
        visit(flask.current_app._get_current_object(), "/jobs")
        assert get_active_keys(storage) == 0
        assert get_key_distribution(storage) == ({}, {}, {})
        assert check_memory_health(storage).capacity_bytes == 50_000_000


OUTSIDE = """
import flask
from otel_ratelimit.storage import check_memory_health, get_active_keys
from otel_ratelimit.storage import get_key_distribution, get_storage_size

def said():
    words = set()
    for ask in (check_memory_health, get_active_keys, get_key_distribution, get_storage_size):
        try:
            ask()
        except RuntimeError as error:
            words.add(str(error))
    [sentence] = words
    return sentence

print(said())
with flask.Flask("shop").app_context():
    print(said())
from otel_ratelimit import RateLimit
print(said())
app, plain = flask.Flask("shop"), flask.Flask("plain")
with plain.app_context():
    print(said())
off = RateLimit(plain, enabled=False, environ={})
with plain.app_context():
    print(said())
limit = RateLimit(app, shadow=False, environ={})
app.test_client().get("/")
print(get_active_keys())
other = RateLimit(plain, environ={})
print(said())
other.close()
print(get_active_keys())
limit.close()
print(said())
"""


def test_outside_of_an_application_the_only_one_is_meant_or_it_is_said_what_to_do():
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE], capture_output=True, text=True, timeout=60, check=True
    )
    unknown, inside, none, unlimited, off, keys, several, again, closed = done.stdout.splitlines()
    assert inside == unknown == none
    assert "no application with rate limits in this process; start it with `opentelemetry-instrument`" in none
    assert "RateLimit(app)" in none
    assert unlimited == off
    assert "the application plain has no rate limits" in unlimited
    assert "opentelemetry-instrument" in unlimited
    assert (keys, again) == ("1", "1")
    assert "2 RateLimit objects in this process" in several
    assert closed == none


@pytest.mark.parametrize("ask", ALL)
def test_a_store_that_cannot_be_measured_is_said_to_be_so(ask, make):
    with (
        make(storage_uri="memory://").app_context(),
        pytest.raises(StorageNotMeasuredError, match="INFO memory"),
    ):
        ask()


# --- by user ---------------------------------------------------------------------------------------


def by_user(app):
    with app.app_context():
        return get_key_distribution().by_user


def test_counters_are_told_by_user_and_those_without_one_together(make):
    app = make()
    visit(app, "/jobs", "alice", times=3)
    visit(app, "/people", "alice")
    visit(app, "/people", "alice", address="198.51.100.1")
    visit(app, "/jobs", "bob")
    visit(app, "/jobs")
    assert by_user(app) == {"alice": 5, "": 1, "bob": 1}
    with app.app_context():
        found = get_key_distribution()
        assert sum(found.by_user.values()) == sum(found.by_client_kind.values()) == get_active_keys()


def test_names_are_those_of_every_application_that_shares_the_store(make):
    app = make()
    second = flask.Flask("second")
    second.add_url_rule("/jobs", "jobs", lambda: "ok")
    app.extensions["otel_ratelimit"].init_app(second)
    visit(app, "/jobs", "alice")
    visit(second, "/jobs", "bob")
    assert by_user(app) == by_user(second) == {"alice": 1, "bob": 1}


def test_users_of_a_decorator_s_limit_are_known_too(make):
    app = make()
    limiter = app.extensions["otel_ratelimit"].limiter
    app.add_url_rule("/decorated", "decorated", limiter.limit("9/minute")(lambda: "ok"))
    visit(app, "/decorated", "alice")
    visit(app, "/decorated")
    counted = by_user(app)
    assert counted.pop("alice") >= 1
    assert counted == {"": 1}


def test_strange_names_are_users_and_nothing_more(make):
    app = make()
    for name in ("<other>", "  x", "a/b", "u" + "0" * 32, "é"):
        visit(app, "/jobs", name.encode().decode("latin-1"))
    counted = by_user(app)
    assert len(counted) == 5
    assert set(counted.values()) == {1}


def test_a_name_too_long_to_be_remembered_is_another_user(make):
    app = make()
    visit(app, "/jobs", "x" * 1_000)
    assert by_user(app) == {"<other>": 1}


def test_after_the_policy_is_reloaded_users_are_named_again_at_their_next_request(make, tmp_path):
    app = make()
    visit(app, "/jobs", "alice")
    limit = app.extensions["otel_ratelimit"]
    hooks = app.extensions["otel_ratelimit.hooks"].hooks
    hooks.enforcement = limit._parts.enforcement(app)
    assert by_user(app) == {"<other>": 1}
    visit(app, "/jobs", "alice")
    assert by_user(app) == {"alice": 1}


def test_the_api_tells_counters_by_user_and_which_routes_its_endpoints_are(make):
    app = make(**API)
    visit(app, "/jobs", "alice")
    visit(app, "/people")
    headers = {"Authorization": f"Bearer {API['api_token']}"}
    keys = app.test_client().get("/api/rate-limit/metrics", headers=headers).json["keys"]
    assert keys["by_user"]["alice"] == 1
    assert sum(keys["by_user"].values()) == sum(keys["by_endpoint"].values()) == keys["active"]
    assert keys["routes"]["jobs.list"] == ["/jobs"]
    assert set(keys["routes"]) == set(keys["by_endpoint"])


class Source:
    peer, proxied = "192.0.2.1", True

    def __init__(self, name):
        self.name = name

    def header(self, name):
        return None

    def user(self):
        return self.name


def test_no_more_names_are_remembered_than_there_is_room_for():
    trusted = RateLimit(environ={})._parts.trusted
    identifier = Identifier(trusted)
    spec = parse_policy('version = 1\nkey = "user"', "p.toml").key_spec
    for number in range(MAX_USERS + 100):
        identifier.identify(spec, Source(f"user {number}"))
    names = set(identifier.users().values())
    assert len(names) == MAX_USERS
    assert {"user 100", f"user {MAX_USERS + 99}"} <= names
    assert "user 99" not in names


def test_those_with_most_counters_are_named_and_the_others_told_together():
    counted = {f"user {n}": n for n in range(1, 8)} | {"<other>": 6}
    assert highest_first(counted, 3) == {"user 7": 7, "<other>": 6 + 6 + 5 + 4 + 3 + 2 + 1}
    assert highest_first(counted, 4) == {"user 7": 7, "<other>": 6 + 5 + 4 + 3 + 2 + 1, "user 6": 6}
    assert highest_first(counted, 100) == counted


def test_counters_may_come_and_go_while_they_are_counted(make):
    app = make()
    storage = app.extensions["otel_ratelimit"].limiter.storage
    from otel_ratelimit.core.route_plan import Strategy, Window

    window = [Window("a|b|60|fixed|", 10**6, 60, Strategy.FIXED_WINDOW, False, "", "")]
    keys = [f"u{number:032x}" for number in range(4_000)]
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            for key in keys[2_000:]:
                storage.counters.take(window, key, 1, 1_700_000_000.0)
            for key in keys[2_000:]:
                storage.counters.clear(window, key)

    for key in keys[:2_000]:
        storage.counters.take(window, key, 1, 1_700_000_000.0)
    names = {key: f"user {number}" for number, key in enumerate(keys[:2_000])}
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            counted = Counter(keys_by_user(storage.counters, names))
            counted.pop("<other>", None)
            assert counted == Counter(dict.fromkeys(names.values(), 1)), (
                "those that stay are counted once each"
            )
    finally:
        stop.set()
        thread.join()
