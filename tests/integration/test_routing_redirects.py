"""A redirect that routing answers by itself is charged to the route it leads to."""

from __future__ import annotations

import flask
import pytest

from otel_ratelimit import DecisionKind, RateLimit
from otel_ratelimit.core.names import UNMATCHED_ROUTE
from otel_ratelimit.policy import parse_policy

AMOUNT = 4
POLICY = f"""
version = 1
exempt = ["/open/"]

[tiers]
default = "{AMOUNT}/minute"
"""


class Rig:
    def __init__(self, app=None):
        self.app = app or flask.Flask("target")
        self.decisions = []
        self.rate_limit = RateLimit(
            self.app,
            policy=parse_policy(POLICY, "test.toml"),
            environ={},
            sinks=[self.decisions.append],
        )
        for path in ("/jobs/", "/open/", "/jobs/<int:job>/", "/plain"):
            self.app.add_url_rule(path, path, lambda **_: "ok", methods=["GET", "POST"])
        rule = self.app.url_rule_class
        self.app.url_map.add(rule("/pages/", endpoint="pages", defaults={"page": 1}))
        self.app.url_map.add(rule("/pages/<int:page>", endpoint="pages"))
        self.app.url_map.add(rule("/alias", endpoint="/plain", alias=True, methods=["GET"]))
        self.app.url_map.add(rule("/old", endpoint="old", redirect_to="/plain"))
        self.app.url_map.add(rule("/old/<int:job>", endpoint="older", redirect_to="/jobs/<job>/"))
        self.app.url_map.add(rule("/away", endpoint="away", redirect_to="https://elsewhere.example/plain"))
        self.app.view_functions["pages"] = lambda page: "ok"

    def routes(self, path, method="GET", *, prefix="", **options):
        client = self.app.test_client()
        # Written into the environment, since the client takes `//jobs` for a host.
        path, _, query = path.partition("?")
        given = {"PATH_INFO": path, "SCRIPT_NAME": prefix, "QUERY_STRING": query}
        answer = client.open("/", method=method, environ_overrides=given, **options)
        assert answer.status_code == 308
        return self.decisions[-1].plan.route


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.rate_limit.close()


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/jobs", "/jobs/"),
        ("/jobs?page=2", "/jobs/"),
        ("//jobs", "/jobs/"),
        ("///jobs///7", "/jobs/<int:job>/"),
        ("/jobs/7", "/jobs/<int:job>/"),
        ("/jobs//7/", "/jobs/<int:job>/"),
        ("/pages/1", "/pages/"),
        ("/alias", "/plain"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/mounted/here"])
def test_a_redirect_is_charged_to_the_route_it_leads_to(rig, path, route, prefix):
    assert rig.routes(path, prefix=prefix) == route


@pytest.mark.parametrize(
    ("path", "route"),
    [("/old", "/plain"), ("/old/7", "/jobs/<int:job>/"), ("/away", UNMATCHED_ROUTE)],
)
def test_so_is_one_that_a_rule_names_where_it_leads_to_a_route_of_the_application(rig, path, route):
    assert rig.routes(path) == route


def test_one_that_leads_out_of_where_the_application_is_mounted_is_unmatched(rig):
    assert rig.routes("/old", prefix="/mounted") == UNMATCHED_ROUTE


def test_a_redirect_to_a_static_file_that_is_not_there_is_unmatched(rig, tmp_path):
    rig.app.static_folder = tmp_path
    assert rig.routes("/static//missing") == UNMATCHED_ROUTE
    (tmp_path / "there").write_text("x")
    rig.routes("/static//there")
    assert rig.decisions[-1].kind is DecisionKind.EXEMPT


def test_redirects_and_the_route_share_one_bucket_and_leave_that_of_unmatched_requests_alone(rig):
    client = rig.app.test_client()
    found = [client.get(path).status_code for path in ("/jobs", "/jobs/") * 3]
    assert found == [308, 200, 308, 200, 429, 429]
    assert [client.get("/nowhere").status_code for _ in range(AMOUNT)] == [404] * AMOUNT


def test_a_flood_of_redirects_is_limited(rig):
    client = rig.app.test_client()
    found = [client.get(f"/jobs/{i}").status_code for i in range(AMOUNT + 2)]
    assert found == [308] * AMOUNT + [429] * 2
    assert len(rig.rate_limit._apps) == 1
    plans = rig.app.extensions["otel_ratelimit.hooks"].hooks.enforcement.plans
    assert len(plans._plans) == 1


def test_a_redirect_to_an_exempt_route_is_exempt(rig):
    client = rig.app.test_client()
    assert [client.get("/open").status_code for _ in range(20)] == [308] * 20
    assert {decision.kind for decision in rig.decisions} == {DecisionKind.EXEMPT}


def test_a_redirect_is_charged_with_the_method_it_keeps(rig):
    rig.routes("/jobs", "POST")
    assert rig.decisions[-1].plan.method == "POST"


def test_another_method_than_the_routes_is_unmatched_as_ever(rig):
    client = rig.app.test_client()
    assert [client.delete("/jobs/").status_code for _ in range(AMOUNT + 1)] == [405] * AMOUNT + [429]
    assert {decision.plan.route for decision in rig.decisions} == {UNMATCHED_ROUTE}


def test_a_websocket_where_there_is_none_is_unmatched_as_ever(rig):
    client = rig.app.test_client()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    found = [client.get("/plain", headers=upgrade).status_code for _ in range(AMOUNT + 1)]
    assert found == [400] * AMOUNT + [429]
    assert {decision.plan.route for decision in rig.decisions} == {UNMATCHED_ROUTE}


def test_hosts_are_told_apart():
    app = flask.Flask("target", host_matching=True, static_host="cdn.example")
    rig = Rig.__new__(Rig)
    rig.app, rig.decisions = app, []
    rig.rate_limit = RateLimit(
        app, policy=parse_policy(POLICY, "test.toml"), environ={}, sinks=[rig.decisions.append]
    )
    for host in ("a.example", "b.example"):
        app.add_url_rule("/jobs/", host, lambda: "ok", host=host)
    assert rig.routes("/jobs", base_url="http://a.example") == "/jobs/"
    assert rig.decisions[-1].plan.endpoint == "a.example"
    rig.routes("/jobs", base_url="http://b.example")
    assert rig.decisions[-1].plan.endpoint == "b.example"
    rig.rate_limit.close()


def test_subdomains_are_told_apart():
    app = flask.Flask("target", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.example"
    rig = Rig.__new__(Rig)
    rig.app, rig.decisions = app, []
    rig.rate_limit = RateLimit(
        app, policy=parse_policy(POLICY, "test.toml"), environ={}, sinks=[rig.decisions.append]
    )
    app.add_url_rule("/jobs/", "api.jobs", lambda: "ok", subdomain="api")
    assert rig.routes("/jobs", base_url="http://api.shop.example") == "/jobs/"
    assert rig.decisions[-1].plan.endpoint == "api.jobs"
    rig.rate_limit.close()


def test_a_converter_that_needs_more_than_a_path_is_no_trouble(rig):
    class Failing(rig.app.url_map.converters["int"]):
        def to_python(self, value):
            raise RuntimeError("no database")

    rig.app.url_map.converters["failing"] = Failing
    rig.app.add_url_rule("/failing/<failing:x>/", "failing", lambda x: "ok")
    rig.app.testing = False
    client = rig.app.test_client()
    assert [client.get("/failing/7").status_code for _ in range(AMOUNT + 1)] == [308] * AMOUNT + [429]
