"""The answers that a client of a Flask application gets under a policy file."""

from __future__ import annotations

import json
import textwrap
import threading

import flask
import http_sf
import pytest
from flask.views import MethodView

from otel_ratelimit import RateLimit

POLICY = """
version = 1

[tiers]
expensive = "2/minute; 5/hour"
default = "4/minute"

[[routes]]
match = "POST /expensive"
tier = "expensive"

[[routes]]
match = "/costly"
limits = "10/minute"
cost = 4

[[routes]]
match = "/watched"
limits = "1/minute"
shadow = true

[[routes]]
match = "/half-watched"
limits = "3/minute; 1/hour"
shadow = "1/hour"
"""


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def policy_file(tmp_path):
    path = tmp_path / "ratelimit.toml"
    path.write_text(textwrap.dedent(POLICY))
    return path


@pytest.fixture
def app():
    app = flask.Flask("sample")

    @app.get("/plain")
    def plain():
        return "ok"

    @app.route("/expensive", methods=["GET", "POST"])
    def expensive():
        return "ok"

    @app.get("/costly")
    def costly():
        return "ok"

    @app.get("/watched")
    def watched():
        return "ok"

    @app.get("/half-watched")
    def half_watched():
        return "ok"

    @app.get("/health")
    def health():
        return "ok"

    @app.get("/broken")
    def broken():
        raise RuntimeError("the view's own fault")

    return app


@pytest.fixture
def limited(app, policy_file, clock):
    rate_limit = RateLimit(app, policy=policy_file, environ={}, clock=clock)
    yield rate_limit
    rate_limit.close()


def statuses(client, method, path, times):
    return [client.open(path, method=method).status_code for _ in range(times)]


def test_a_route_without_a_rule_gets_the_default_tier(app, limited):
    assert statuses(app.test_client(), "GET", "/plain", 6) == [200] * 4 + [429] * 2


def test_a_rule_governs_only_its_method_and_buckets_do_not_mix(app, limited):
    client = app.test_client()
    assert statuses(client, "POST", "/expensive", 3) == [200, 200, 429]
    assert statuses(client, "GET", "/expensive", 5) == [200] * 4 + [429]


def test_waiting_exactly_retry_after_succeeds_and_a_second_less_does_not(app, limited, clock):
    client = app.test_client()
    statuses(client, "GET", "/plain", 4)
    clock.now += 12.5
    refused = client.get("/plain")
    wait = int(refused.headers["Retry-After"])
    assert wait == 48
    clock.now += wait - 1
    assert client.get("/plain").status_code == 429
    clock.now += 1
    assert client.get("/plain").status_code == 200


def test_retry_after_speaks_of_the_limit_that_lasts_longest(app, limited, clock):
    client = app.test_client()
    for _ in range(2):
        statuses(client, "POST", "/expensive", 2)
        clock.now += 60
    assert client.post("/expensive").status_code == 200
    refused = client.post("/expensive")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) == 3600 - 120
    assert refused.json["violated-policies"] == ["5-per-hour"]


def test_a_refused_request_drains_nothing(app, limited, clock):
    client = app.test_client()
    statuses(client, "POST", "/expensive", 10)
    clock.now += 60
    # Had the eight refusals drained the hour, nothing would be left of its five.
    assert statuses(client, "POST", "/expensive", 2) == [200, 200]


def test_the_refusal_is_a_problem_document_that_no_cache_may_keep(app, limited):
    client = app.test_client()
    statuses(client, "GET", "/plain", 4)
    refused = client.get("/plain")
    assert refused.status_code == 429
    assert refused.content_type == "application/problem+json"
    assert refused.headers["Cache-Control"] == "no-store"
    assert refused.json == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "The limit is 4 per 1 minute. Retry in 60 s.",
        "violated-policies": ["4-per-minute"],
    }


def test_allowed_responses_carry_headers_that_parse_as_structured_fields(app, limited):
    response = app.test_client().post("/expensive")
    policy = http_sf.parse(response.headers["RateLimit-Policy"].encode(), tltype="list")
    state = http_sf.parse(response.headers["RateLimit"].encode(), tltype="list")
    assert [(name, dict(params)) for name, params in policy] == [
        ("2-per-minute", {"q": 2, "w": 60}),
        ("5-per-hour", {"q": 5, "w": 3600}),
    ]
    assert [(name, dict(params)) for name, params in state] == [
        ("2-per-minute", {"r": 1, "t": 60}),
        ("5-per-hour", {"r": 4, "t": 3600}),
    ]
    assert response.headers["X-RateLimit-Limit"] == "2"
    assert response.headers["X-RateLimit-Remaining"] == "1"
    assert response.headers["X-RateLimit-Reset"] == "1700000060"


def test_retry_after_is_never_earlier_than_t(app, limited, clock):
    client = app.test_client()
    statuses(client, "POST", "/expensive", 2)
    clock.now += 20
    refused = client.post("/expensive")
    (state,) = http_sf.parse(refused.headers["RateLimit"].encode(), tltype="list")
    assert state[1]["t"] == 40 == int(refused.headers["Retry-After"])


def test_a_cost_is_taken_at_once(app, limited):
    assert statuses(app.test_client(), "GET", "/costly", 3) == [200, 200, 429]


def test_shadow_counts_and_never_blocks_nor_tells_the_client(app, limited):
    client = app.test_client()
    responses = [client.get("/watched") for _ in range(3)]
    assert [r.status_code for r in responses] == [200, 200, 200]
    assert "RateLimit" not in responses[2].headers


def test_one_limit_of_a_rule_can_be_in_shadow_while_the_other_blocks(app, limited):
    client = app.test_client()
    responses = [client.get("/half-watched") for _ in range(4)]
    assert [r.status_code for r in responses] == [200, 200, 200, 429]
    assert "per-hour" not in responses[0].headers["RateLimit-Policy"]


def test_health_checks_are_exempt(app, limited):
    client = app.test_client()
    assert statuses(client, "GET", "/health", 50) == [200] * 50
    assert "RateLimit" not in client.get("/health").headers


def test_unmatched_requests_share_one_bucket_whatever_their_path_or_method(app, limited):
    client = app.test_client()
    seen = [client.get(f"/nowhere/{i}").status_code for i in range(2)]
    seen += [client.open("/plain", method="DELETE").status_code, client.get("/wp-login.php").status_code]
    assert seen == [404, 404, 405, 404]
    assert client.get("/another").status_code == 429


def test_a_view_that_raises_is_counted_and_still_answers_500(app, limited):
    client = app.test_client()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert statuses(client, "GET", "/broken", 5) == [500] * 4 + [429]


def test_routes_registered_late_blueprints_and_class_based_views_are_governed(app, limited):
    client = app.test_client()
    client.get("/plain")
    blueprint = flask.Blueprint("late", __name__, url_prefix="/late")

    class Things(MethodView):
        def get(self):
            return "ok"

    blueprint.add_url_rule("/things", view_func=Things.as_view("things"))
    app._got_first_request = False  # Flask forbids it; plugin systems do it all the same
    app.register_blueprint(blueprint)
    assert statuses(client, "GET", "/late/things", 5) == [200] * 4 + [429]


def test_an_application_that_aborts_before_any_hook_is_counted_and_limited_all_the_same(app, limited):
    @app.url_value_preprocessor
    def refuse(endpoint, values):
        flask.abort(400)

    assert statuses(app.test_client(), "GET", "/plain", 6) == [400] * 4 + [429] * 2


def test_the_first_requests_at_once_place_the_hooks_once(app, limited):
    start, seen = threading.Barrier(16), []

    def send():
        client = app.test_client()
        start.wait()
        seen.extend(client.get("/plain").status_code for _ in range(3))

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen.count(200), seen.count(429)) == (4, 44)
    assert len(app.before_request_funcs[None]) == len(app.after_request_funcs[None]) == 1


def test_head_counts_as_get(app, limited):
    client = app.test_client()
    assert statuses(client, "HEAD", "/plain", 4) == [200] * 4
    assert client.get("/plain").status_code == 429


def test_preflight_requests_do_not_drain_the_route(app, limited):
    client = app.test_client()
    statuses(client, "OPTIONS", "/expensive", 4)
    assert client.post("/expensive").status_code == 200
    assert client.options("/expensive").status_code == 429


def test_without_a_policy_file_nothing_is_blocked_and_it_is_said(app, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO", logger="otel_ratelimit"):
        rate_limit = RateLimit(app, environ={})
    assert statuses(app.test_client(), "GET", "/plain", 150) == [200] * 150
    assert sum("shadow" in record.message for record in caplog.records) == 1
    rate_limit.close()


def test_the_built_in_policy_is_enforced_when_asked_for(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rate_limit = RateLimit(app, shadow=False, environ={})
    assert statuses(app.test_client(), "GET", "/plain", 101) == [200] * 100 + [429]
    rate_limit.close()


def test_global_shadow_wins_over_an_enforcing_policy_file(app, policy_file):
    rate_limit = RateLimit(app, policy=policy_file, environ={"OTEL_RATELIMIT_SHADOW": "true"})
    assert statuses(app.test_client(), "GET", "/plain", 10) == [200] * 10
    rate_limit.close()


def test_a_body_that_is_refused_is_valid_json_on_every_route(app, limited):
    client = app.test_client()
    statuses(client, "GET", "/half-watched", 3)
    assert json.loads(client.get("/half-watched").data)["status"] == 429


def test_detaching_leaves_the_application_as_it_was(app, policy_file):
    client = app.test_client()
    client.get("/plain")
    before = (
        {k: list(v) for k, v in app.before_request_funcs.items() if v},
        {k: list(v) for k, v in app.after_request_funcs.items() if v},
        {k: list(v) for k, v in app.teardown_request_funcs.items() if v},
        dict(app.extensions),
        dict(app.__dict__),
    )
    rate_limit = RateLimit(app, policy=policy_file, environ={})
    assert statuses(client, "GET", "/plain", 5)[-1] == 429
    rate_limit.detach(app)
    after = (
        {k: list(v) for k, v in app.before_request_funcs.items() if v},
        {k: list(v) for k, v in app.after_request_funcs.items() if v},
        {k: list(v) for k, v in app.teardown_request_funcs.items() if v},
        dict(app.extensions),
        dict(app.__dict__),
    )
    assert after == before
    assert statuses(client, "GET", "/plain", 10) == [200] * 10
    rate_limit.close()
