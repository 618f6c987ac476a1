"""`otel_ratelimit.testing`, and the page that teaches it, as a user's own tests see them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import flask
import pytest
from half_over import DAY_OR_TWO
from limits.storage import MemcachedStorage

from otel_ratelimit import RateLimit
from otel_ratelimit.testing import rate_limits_under_test

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-limits.md"
POLICY = f"""
version = 1
[tiers]
default = "3/minute"
[[routes]]
match = "/watched"
limits = "1/minute"
shadow = true
[[routes]]
match = "/moving"
limits = "3/minute"
strategy = "moving-window"
[[routes]]
match = "/sliding"
limits = "3/{DAY_OR_TWO} seconds"
strategy = "sliding-window-counter"
"""


@pytest.fixture
def make_app(tmp_path):
    """`make_app(storage_uri)`: an application with limits."""
    made = []
    (tmp_path / "ratelimit.toml").write_text(POLICY)

    def make(storage_uri="bounded-memory://"):
        app = flask.Flask("shop")
        for path in ("/fixed", "/moving", "/sliding", "/watched"):
            app.add_url_rule(path, path, lambda: "here")
        app.add_url_rule("/busy", "busy", lambda: ("busy", 429))
        made.append(RateLimit(app, policy=tmp_path / "ratelimit.toml", storage_uri=storage_uri, environ={}))
        return app

    yield make
    for limit in made:
        limit.close()


@pytest.fixture
def limits():
    with rate_limits_under_test() as limits:
        yield limits


def run_pytest(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_page_does_what_it_says(tmp_path):
    blocks = re.findall(
        r"^```\w+\n# ([\w.]+)(.*?)\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert {name for name, _, _ in blocks} >= {"conftest.py", "shop.py", "ratelimit.toml", "test_limits.py"}
    for name, _, text in blocks:
        with (tmp_path / name).open("a") as file:
            file.write(text + "\n")
    done = run_pytest(tmp_path)
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_without_the_fixture_leaves_no_counter_to_the_next(tmp_path):
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["otel_ratelimit.testing"]\n')
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
        import flask, pytest
        from otel_ratelimit import RateLimit
        app = flask.Flask("shop")
        app.add_url_rule("/fixed", "fixed", lambda: "here")
        RateLimit(app, policy="ratelimit.toml", environ={})

        @pytest.mark.parametrize("_again", range(4))
        def test_three(_again):
            assert [app.test_client().get("/fixed").status_code for _ in range(3)] == [200] * 3
    """)
    )
    done = run_pytest(tmp_path)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("path", ["/fixed", "/moving", "/sliding"])
@pytest.mark.parametrize("store", ["bounded-memory://", "memory://", "redis"])
def test_counters_grow_old_with_the_limiters_clock(make_app, limits, store, path, request):
    uri = request.getfixturevalue("valkey").uri if store == "redis" else store
    client = make_app(uri).test_client()
    limits.allow(client, path, times=3)
    limits.refuse(client, path, times=2)
    limits.advance(2 * DAY_OR_TWO)
    limits.allow(client, path, times=3)
    limits.refuse(client, path)
    limits.reset()
    assert limits.exhaust(client, path) == 3


@pytest.mark.parametrize("path", ["/fixed", "/moving"])
@pytest.mark.parametrize("store", ["bounded-memory://", "redis"])
def test_a_part_of_a_window_is_not_enough(make_app, limits, store, path, request):
    uri = request.getfixturevalue("valkey").uri if store == "redis" else store
    client = make_app(uri).test_client()
    limits.exhaust(client, path)
    limits.advance(30)
    limits.refuse(client, path)
    limits.advance(30)
    limits.allow(client, path)


def test_a_frozen_clock_makes_headers_exact(make_app, limits):
    client = make_app().test_client()
    limits.freeze(1_800_000_000)
    [*_, last] = limits.allow(client, "/fixed", times=3)
    assert last.headers["X-RateLimit-Reset"] == "1800000060"
    limits.advance(20)
    [refusal] = limits.refuse(client, "/fixed")
    assert refusal.headers["Retry-After"] == "40"
    assert limits.now == 1_800_000_020


def test_a_failed_assertion_says_what_was_decided_and_by_which_limit(make_app, limits):
    client = make_app().test_client()
    with pytest.raises(
        pytest.fail.Exception, match=r"request 4 of 9 was refused: GET /fixed.*3 per 1 minute"
    ):
        limits.allow(client, "/fixed", times=9)
    with pytest.raises(pytest.fail.Exception, match=r"request 1 of 1 was let through.*3 per 1 minute"):
        limits.refuse(client, "/moving")
    limits.allow(client, "/watched")
    with pytest.raises(pytest.fail.Exception, match="only observed"):
        limits.refuse(client, "/watched")
    with pytest.raises(pytest.fail.Exception, match="never refused"):
        limits.exhaust(client, "/watched")


def test_a_429_of_the_application_is_no_refusal(make_app, limits):
    app = make_app()
    limits.allow(app.test_client(), "/busy", times=3)
    limits.refuse(app.test_client(), "/busy")


def test_an_application_without_limits_is_told_apart(limits):
    app = flask.Flask("bare")
    app.add_url_rule("/", "home", lambda: "here")
    with pytest.raises(pytest.fail.Exception, match="the limiter was not asked"):
        limits.refuse(app.test_client(), "/")


def test_the_clock_is_the_machines_again_afterwards(make_app):
    client = make_app().test_client()
    with rate_limits_under_test() as limits:
        limits.freeze(1_000_000_000)
        limits.exhaust(client, "/fixed")
    assert client.get("/fixed").status_code == 200


def test_memcached_says_that_its_clock_cannot_be_moved(tmp_path, limits, memcached):
    (tmp_path / "ratelimit.toml").write_text('version = 1\n[tiers]\ndefault = "3/minute"\n')
    limit = RateLimit(policy=tmp_path / "ratelimit.toml", storage_uri=memcached.uri, environ={})
    assert isinstance(limit.limiter.storage, MemcachedStorage)
    with closing(limit), pytest.raises(RuntimeError, match="has its own clock"):
        limits.advance(1)
