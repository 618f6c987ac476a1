"""A view may be any callable: a `partial` and an object with `__call__` have no `__qualname__`."""

from __future__ import annotations

from functools import partial

import flask
import pytest

from otel_ratelimit import RateLimit


class View:
    def __call__(self):
        return "here"


class NamedView(View):
    __name__ = "view"


def answer(text):
    return text


VIEWS = {
    "object": View(),
    "object with a name only": NamedView(),
    "partial": partial(answer, "here"),
    "method": View().__call__,
    "lambda": lambda: "here",
    "built-in": partial(str, "here"),
}


@pytest.fixture(params=VIEWS)
def client(request, tmp_path):
    policy = tmp_path / "ratelimit.toml"
    policy.write_text('version = 1\n[tiers]\ndefault = "2/minute"\n')
    app = flask.Flask("any")
    app.add_url_rule("/view", "view", VIEWS[request.param])
    blueprint = flask.Blueprint("part", __name__)
    blueprint.add_url_rule("/exempt", "view", VIEWS[request.param])
    app.register_blueprint(blueprint)
    limit = RateLimit(app, policy=policy, environ={})
    limit.limiter.exempt(blueprint)
    yield app.test_client()
    limit.close()


def test_it_is_limited_like_any_other(client):
    assert [client.get("/view").status_code for _ in range(3)] == [200, 200, 429]


def test_its_blueprints_exemption_holds(client):
    assert [client.get("/exempt").status_code for _ in range(3)] == [200, 200, 200]
