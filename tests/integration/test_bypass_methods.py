"""Ways around a limiter by another method: HEAD, a rotation of verbs, an override header."""

from __future__ import annotations

import flask
import pytest
from bypass_attempts import AMOUNT, TRIES, both, make_app, passed, protect, stock
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address


def test_stock_can_be_passed_by_head_where_the_decorator_names_get():
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/thing", "thing", limiter.limit(f"{AMOUNT}/minute", methods=["GET"])(lambda: "ok"))
    assert passed(app, lambda client, i: client.head("/thing")) == TRIES


def test_head_counts_as_get():
    app = make_app()
    protect(app, f'[[routes]]\nmatch = "GET /thing"\nlimits = "{AMOUNT}/minute"\n', amount=1000)
    assert passed(app, lambda client, i: client.open("/thing", method=("HEAD", "GET")[i % 2])) == AMOUNT


def test_head_counts_as_get_for_a_decorator_too():
    app = flask.Flask("target")
    limiter = protect(app, amount=1000).limiter
    app.add_url_rule("/thing", "thing", limiter.limit(f"{AMOUNT}/minute", methods=["GET"])(lambda: "ok"))
    assert passed(app, lambda client, i: client.open("/thing", method=("HEAD", "GET")[i % 2])) == AMOUNT


def rotate_verbs(client, i):
    return client.open("/thing", method=("GET", "POST", "PUT")[i % 3])


def test_stock_can_be_passed_by_verb_rotation_with_limits_per_method():
    app = make_app()
    stock(app, default_limits_per_method=True)
    assert passed(app, rotate_verbs) == TRIES


@both
def test_verb_rotation_shares_one_bucket(guard):
    app = make_app()
    guard(app)
    assert passed(app, rotate_verbs) == AMOUNT


def test_a_bucket_for_each_method_is_had_only_by_asking():
    app = make_app()
    protect(app, f'[[routes]]\nmatch = "/thing"\nlimits = "{AMOUNT}/minute"\nscope = "method"\n')
    assert passed(app, rotate_verbs) == TRIES


@both
def test_a_method_override_header_is_ignored(guard):
    app = make_app()
    guard(app)
    names = ("GET", "POST", "PUT", "DELETE", "PATCH", "BREW")
    assert (
        passed(
            app,
            lambda client, i: client.post("/thing", headers={"X-HTTP-Method-Override": names[i % 6]}),
        )
        == AMOUNT
    )


def test_stock_can_be_passed_by_a_verb_that_a_decorator_does_not_name():
    app = flask.Flask("target")
    limited = stock(app).limit("5/minute", methods=["POST"], exempt_when=lambda: True)
    app.add_url_rule("/thing", "thing", limited(lambda: "ok"), methods=["GET", "POST"])
    assert passed(app, lambda client, i: client.post("/thing")) == TRIES


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_verb_that_a_decorator_does_not_limit_keeps_the_default_tier(method):
    app = flask.Flask("target")
    limiter = protect(app).limiter
    limited = limiter.limit("5/minute", methods=["POST"], exempt_when=lambda: True)
    app.add_url_rule("/thing", "thing", limited(lambda: "ok"), methods=["GET", "POST"])
    assert passed(app, lambda client, i: client.open("/thing", method=method)) == AMOUNT
