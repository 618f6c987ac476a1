"""Browsers on other origins, with the real Flask-CORS: preflights use up nothing, refusals can be read."""

from __future__ import annotations

import flask
import pytest
from flask.views import MethodView
from flask_cors import CORS, cross_origin

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

AMOUNT = 4
ORIGIN = "https://shop.example"
POLICY = f'version = 1\n[tiers]\ndefault = "{AMOUNT}/minute"\n'
EXPOSED = ["RateLimit", "RateLimit-Policy", "Retry-After"]
OPTIONS = {"origins": [ORIGIN], "expose_headers": EXPOSED, "supports_credentials": True}


def with_cors_on_the_application(app):
    app.add_url_rule("/thing", "thing", lambda: "ok", methods=["GET", "POST"])
    CORS(app, **OPTIONS)


def with_cors_on_a_blueprint(app):
    blueprint = flask.Blueprint("shop", __name__)
    blueprint.add_url_rule("/thing", "thing", lambda: "ok", methods=["GET", "POST"])
    CORS(blueprint, **OPTIONS)
    app.register_blueprint(blueprint)


def with_cross_origin(app):
    app.add_url_rule("/thing", "thing", cross_origin(**OPTIONS)(lambda: "ok"), methods=["GET", "POST"])


def with_cross_origin_on_a_class(app):
    class Thing(MethodView):
        decorators = (cross_origin(**OPTIONS),)

        def get(self):
            return "ok"

        def post(self):
            return "ok"

    app.add_url_rule("/thing", view_func=Thing.as_view("thing"))


def with_cross_origin_below_another_decorator(app):
    import functools

    def noted(view):
        @functools.wraps(view)
        def wrapper(*args, **kwargs):
            return view(*args, **kwargs)

        return wrapper

    view = noted(cross_origin(**OPTIONS)(noted(lambda: "ok")))
    app.add_url_rule("/thing", "thing", view, methods=["GET", "POST"])


def with_cors_options_in_the_configuration(app):
    app.config.update(CORS_ORIGINS=[ORIGIN], CORS_EXPOSE_HEADERS=EXPOSED, CORS_SUPPORTS_CREDENTIALS=True)
    app.add_url_rule("/thing", "thing", cross_origin()(lambda: "ok"), methods=["GET", "POST"])


def with_cors_on_both(app):
    with_cross_origin(app)
    CORS(app, origins=["https://other.example"])


def by_hand(app):
    """A view that answers OPTIONS itself, and headers from a hook."""

    def thing():
        if flask.request.method == "OPTIONS":
            return "", 204, {"Access-Control-Allow-Methods": "GET, POST"}
        return "ok"

    app.add_url_rule("/thing", "thing", thing, methods=["GET", "POST", "OPTIONS"])

    @app.after_request
    def add(response):
        response.headers["Access-Control-Allow-Origin"] = ORIGIN
        response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
        response.headers["Access-Control-Allow-Credentials"] = "true"
        return response


WAYS = [
    with_cors_on_the_application,
    with_cors_on_a_blueprint,
    with_cross_origin,
    with_cross_origin_on_a_class,
    with_cross_origin_below_another_decorator,
    with_cors_options_in_the_configuration,
    with_cors_on_both,
    by_hand,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def app(request):
    app = flask.Flask("target")
    request.param(app)
    return app


@pytest.fixture
def protect():
    made = []

    def protect(app, policy=POLICY):
        made.append(RateLimit(app, policy=parse_policy(policy, "test.toml"), environ={}))
        return app.test_client()

    yield protect
    for rate_limit in made:
        rate_limit.close()


def preflight(client, method="POST", path="/thing"):
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": method}
    return client.options(path, headers=headers)


def send(client, method="POST", path="/thing"):
    return client.open(path, method=method, headers={"Origin": ORIGIN})


RULES = {
    "default tier": "",
    "rule": '[[routes]]\nmatch = "/thing"\nlimits = "4/minute"\n',
    "rule for POST": '[[routes]]\nmatch = "POST /thing"\nlimits = "4/minute"\n',
    "rule for all": '[[routes]]\nmatch = "/**"\nlimits = "4/minute"\nscope = "rule"\n',
    "rule with a tier": '[[routes]]\nmatch = "/thing"\ntier = "default"\nscope = "tier"\n',
    "rule that names OPTIONS": '[[routes]]\nmatch = "POST,OPTIONS /thing"\nlimits = "4/minute"\n',
    "rule that costs": '[[routes]]\nmatch = "/thing"\nlimits = "8/minute"\ncost = 2\n',
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_real_request_may_have_its_preflight(app, protect, rule):
    client = protect(app, POLICY + rule)
    for _ in range(AMOUNT):
        assert preflight(client).status_code in {200, 204}
        assert send(client).status_code == 200
    assert send(client).status_code == 429


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_options_of_any_kind_is_no_free_pass_and_takes_nothing_from_the_others(app, protect, rule):
    client = protect(app, POLICY + rule)
    found = [preflight(client, "GET"), client.options("/thing"), preflight(client), client.options("/thing")]
    found += [preflight(client), client.options("/thing"), preflight(client, "PUT")]
    assert [answer.status_code for answer in found][AMOUNT:] == [429] * 3
    assert [send(client).status_code for _ in range(AMOUNT)] == [200] * AMOUNT


def test_a_refusal_can_be_read_by_the_browser(app, protect):
    client = protect(app)
    allowed = [send(client) for _ in range(AMOUNT)][-1]
    refused = send(client)
    assert refused.status_code == 429
    for answer in (allowed, refused):
        assert answer.headers.getlist("Access-Control-Allow-Origin") == [ORIGIN]
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Access-Control-Expose-Headers"] == ", ".join(EXPOSED)
    assert refused.json["violated-policies"] == ["4-per-minute"]


def test_another_origin_may_not_read_it(app, protect):
    client = protect(app)
    if "add" in {function.__name__ for function in app.after_request_funcs.get(None, [])}:
        pytest.skip("the hook of this application allows everybody")
    answers = [client.post("/thing", headers={"Origin": "https://evil.example"}) for _ in range(AMOUNT + 1)]
    assert answers[-1].status_code == 429
    assert answers[-1].headers.get("Access-Control-Allow-Origin") != "https://evil.example"


def test_the_applications_own_429_can_be_read_too(app, protect):
    app.register_error_handler(429, lambda e: ("slow down", 429))
    client = protect(app)
    answers = [send(client) for _ in range(AMOUNT + 1)]
    assert answers[-1].text == "slow down"
    assert answers[-1].headers.getlist("Access-Control-Allow-Origin") == [ORIGIN]


def test_options_that_does_work_has_the_limit_of_its_rule(protect):
    app = flask.Flask("target")
    app.add_url_rule("/work", "work", lambda: "done", methods=["GET", "OPTIONS"])
    client = protect(app, POLICY + '[[routes]]\nmatch = "/work"\nlimits = "1/minute"\n')
    assert [client.options("/work").status_code for _ in range(2)] == [200, 429]
    assert [client.get("/work").status_code for _ in range(2)] == [200, 429]


def test_a_rule_for_options_alone_governs_flasks_own_answer_as_well(protect):
    app = flask.Flask("target")
    app.add_url_rule("/thing", "thing", lambda: "ok")
    client = protect(app, POLICY + '[[routes]]\nmatch = "OPTIONS /**"\nlimits = "2/minute"\n')
    assert [client.options("/thing").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/thing").status_code == 200


@pytest.mark.parametrize("order", ["limit outside", "limit inside"])
def test_a_limit_declared_with_a_decorator_is_not_used_up_by_preflights(protect, order):
    app = flask.Flask("target")
    rate_limit = RateLimit(app, policy=parse_policy(POLICY, "test.toml"), environ={})
    limit, cors = rate_limit.limiter.limit("2/minute"), cross_origin(**OPTIONS)
    view = limit(cors(view_for(app))) if order == "limit outside" else cors(limit(view_for(app)))
    app.add_url_rule("/thing", "thing", view, methods=["POST"])
    client = app.test_client()
    for _ in range(2):
        assert preflight(client).status_code == 200
        assert send(client).status_code == 200
    refused = send(client)
    assert refused.status_code == 429
    assert refused.headers.getlist("Access-Control-Allow-Origin") == [ORIGIN]
    # And it is no way around: preflights end as well.
    assert 429 in {preflight(client).status_code for _ in range(AMOUNT + 1)}
    rate_limit.close()


def test_a_preflight_that_the_policy_exempts_is_still_counted_by_a_declared_limit():
    app = flask.Flask("target")
    policy = parse_policy('version = 1\nexempt = ["/thing"]\n', "test.toml")
    rate_limit = RateLimit(app, policy=policy, environ={})
    view = rate_limit.limiter.limit("2/minute")(view_for(app))
    app.add_url_rule("/thing", "thing", view, methods=["POST", "OPTIONS"], provide_automatic_options=False)
    client = app.test_client()
    assert [preflight(client).status_code for _ in range(3)] == [200, 200, 429]
    rate_limit.close()


def view_for(app):
    def view():
        return "ok"

    return view


def test_options_of_our_own_api_takes_nothing_from_its_other_methods(protect):
    app = flask.Flask("target")
    client = protect(app)
    answers = [client.options("/api/rate-limit/status").status_code for _ in range(121)]
    assert (answers[0], answers[-1]) == (204, 429)
    assert client.get("/api/rate-limit/status").status_code == 401
