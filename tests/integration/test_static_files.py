"""Files that exist are exempt; requests for those that do not are limited like any other 404."""

from __future__ import annotations

import os
import threading

import flask
import pytest

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

AMOUNT = 4
POLICY = f'version = 1\n[tiers]\ndefault = "{AMOUNT}/minute"\n'


@pytest.fixture
def folder(tmp_path):
    static = tmp_path / "static"
    (static / "css").mkdir(parents=True)
    (static / "app.js").write_text("1")
    (static / "css" / "a b.css").write_text("2")
    (static / "ü.txt").write_text("3")
    (tmp_path / "secret.txt").write_text("4")
    return static


@pytest.fixture
def protect():
    made = []

    def protect(app, policy=POLICY, **options):
        made.append(RateLimit(app, policy=parse_policy(policy, "test.toml"), environ={}, **options))
        return app.test_client()

    yield protect
    for rate_limit in made:
        rate_limit.close()


def statuses(client, paths, method="GET"):
    return [client.open(path, method=method).status_code for path in paths]


@pytest.mark.parametrize("url_path", ["", "/", "/static", "/a/b"])
def test_files_that_are_not_there_are_limited_and_those_that_are_there_are_not(folder, protect, url_path):
    client = protect(flask.Flask("target", static_folder=folder, static_url_path=url_path))
    prefix = url_path.rstrip("/")
    missing = [f"{prefix}/missing-{i}.js" for i in range(AMOUNT + 2)]
    assert statuses(client, missing) == [404] * AMOUNT + [429] * 2
    there = [f"{prefix}/app.js", f"{prefix}/css/a%20b.css", f"{prefix}/%C3%BC.txt", f"{prefix}/app.js/"]
    assert statuses(client, there * 5) == [200] * 20
    assert statuses(client, there, "HEAD") == [200] * 4


@pytest.mark.parametrize(
    "path",
    [
        "css",
        "css/",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "css/../../secret.txt",
        "/etc/passwd",
        "%00",
        "app.js%00",
        "x" * 5000,
        "%ff%fe",
        "app.js/x",
    ],
)
def test_what_names_no_file_is_limited(folder, protect, path):
    client = protect(flask.Flask("target", static_folder=folder, static_url_path="/s"))
    answers = statuses(client, [f"/s/{path}"] * (AMOUNT + 2))
    assert answers[AMOUNT:] == [429] * 2
    assert not {200, 429, 500} & set(answers[:AMOUNT])


def test_they_share_the_bucket_of_what_matches_no_route(folder, protect):
    client = protect(flask.Flask("target", static_folder=folder))
    found = statuses(client, ["/static/a", "/b", "/static/c", "/d", "/static/e", "/f"])
    assert found == [404] * AMOUNT + [429] * 2


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "DELETE", "PROPFIND"])
def test_other_methods_are_limited_whatever_they_name(folder, protect, method):
    client = protect(flask.Flask("target", static_folder=folder, static_url_path=""))
    paths = ["/app.js", "/missing"] * AMOUNT
    assert statuses(client, paths, method)[AMOUNT:] == [429] * AMOUNT


def test_a_view_beside_a_static_route_that_takes_everything_has_its_own_limit(folder, protect):
    app = flask.Flask("target", static_folder=folder, static_url_path="")
    app.add_url_rule("/thing", "thing", lambda: "ok")
    client = protect(app)
    statuses(client, [f"/{i}" for i in range(AMOUNT + 1)])
    assert statuses(client, ["/thing"] * (AMOUNT + 1)) == [200] * AMOUNT + [429]


def test_a_file_that_comes_and_goes_is_looked_up_each_time(folder, protect):
    client = protect(flask.Flask("target", static_folder=folder))
    assert statuses(client, ["/static/new"] * AMOUNT) == [404] * AMOUNT
    (folder / "new").write_text("x")
    assert statuses(client, ["/static/new"] * 3) == [200] * 3
    (folder / "new").unlink()
    assert statuses(client, ["/static/new"]) == [429]


@pytest.mark.parametrize("url_prefix", [None, "/shop"])
def test_the_static_files_of_a_blueprint(folder, protect, url_prefix):
    app = flask.Flask("target", static_folder=None)
    blueprint = flask.Blueprint("shop", __name__, static_folder=folder, static_url_path="/s")
    app.register_blueprint(blueprint, url_prefix=url_prefix)
    client = protect(app)
    prefix = f"{url_prefix or ''}/s"
    assert statuses(client, [f"{prefix}/app.js"] * 9) == [200] * 9
    assert statuses(client, [f"{prefix}/missing"] * (AMOUNT + 1)) == [404] * AMOUNT + [429]


def test_nested_blueprints_with_folders_of_their_own(folder, tmp_path, protect):
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.js").write_text("b")
    app = flask.Flask("target", static_folder=None)
    outer = flask.Blueprint(
        "outer", __name__, url_prefix="/outer", static_folder=folder, static_url_path="/s"
    )
    inner = flask.Blueprint("inner", __name__, url_prefix="/inner", static_folder=other, static_url_path="/s")
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    client = protect(app)
    assert statuses(client, ["/outer/s/app.js", "/outer/inner/s/b.js"] * 5) == [200] * 10
    assert statuses(client, ["/outer/s/b.js", "/outer/inner/s/app.js"] * 3) == [404] * AMOUNT + [429] * 2


def test_a_relative_folder_and_a_host_of_its_own(folder, protect, monkeypatch):
    monkeypatch.chdir("/")
    app = flask.Flask(
        "target",
        root_path=str(folder.parent),
        static_folder="static",
        static_host="cdn.example",
        host_matching=True,
    )
    client = protect(app)
    base = "http://cdn.example"
    assert [client.get("/static/app.js", base_url=base).status_code for _ in range(9)] == [200] * 9
    missing = [client.get("/static/missing", base_url=base).status_code for _ in range(AMOUNT + 1)]
    assert missing == [404] * AMOUNT + [429]


def test_a_view_that_overrides_flasks_own_has_a_limit(folder, protect):
    class Shop(flask.Flask):
        def send_static_file(self, filename):
            return "made with much work"

    client = protect(Shop("target", static_folder=folder))
    assert statuses(client, ["/static/app.js"] * (AMOUNT + 1)) == [200] * AMOUNT + [429]


def test_a_method_that_is_replaced_on_the_application_has_a_limit(folder, protect):
    app = flask.Flask("target", static_folder=folder)
    app.send_static_file = lambda filename: "made with much work"
    client = protect(app)
    assert statuses(client, ["/static/app.js"] * (AMOUNT + 1)) == [200] * AMOUNT + [429]


def test_a_view_that_is_put_in_place_of_flasks_own_has_a_limit(folder, protect):
    app = flask.Flask("target", static_folder=folder)
    app.view_functions["static"] = lambda filename: "made with much work"
    client = protect(app)
    assert statuses(client, ["/static/app.js"] * (AMOUNT + 1)) == [200] * AMOUNT + [429]


def test_a_hook_that_answers_in_place_of_a_file_does_not_change_that_it_is_exempt(folder, protect):
    app = flask.Flask("target", static_folder=folder)
    app.get_send_file_max_age = lambda name: 60
    app.before_request(lambda: flask.redirect("/login"))
    client = protect(app)
    assert statuses(client, ["/static/app.js"] * 9) == [302] * 9
    assert statuses(client, ["/static/missing"] * (AMOUNT + 1)) == [302] * AMOUNT + [429]


def test_a_flood_from_many_threads_at_once(folder, protect):
    app = flask.Flask("target", static_folder=folder, static_url_path="")
    protect(app)
    start, seen = threading.Barrier(8), []

    def send():
        client = app.test_client()
        start.wait()
        seen.extend(statuses(client, [f"/{os.urandom(4).hex()}" for _ in range(5)]))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen.count(404), seen.count(429)) == (AMOUNT, 40 - AMOUNT)
