"""An application with one limit, on our limiter or on stock Flask-Limiter, and attempts to exceed it."""

from __future__ import annotations

import flask
import pytest
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

AMOUNT = 5
TRIES = 12


def make_app():
    app = flask.Flask("target")

    @app.route("/thing", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    def thing():
        return "ok"

    @app.get("/thing/<path:rest>")
    def deep(rest):
        return "ok"

    @app.get("/files", endpoint="static_report")
    def report():
        return "ok"

    return app


def protect(app, rules="", *, amount=AMOUNT, **options):
    policy = parse_policy(f'version = 1\n[tiers]\ndefault = "{amount}/minute"\n{rules}', "bypass.toml")
    return RateLimit(app, policy=policy, environ={}, **options)


def decorate(app, rules="", *, amount=AMOUNT, **options):
    """The same limit, declared with a decorator on every view, under a policy that never refuses."""
    limiter = protect(app, rules, amount=1000, **options).limiter
    for endpoint, view in app.view_functions.items():
        app.view_functions[endpoint] = limiter.limit(f"{amount}/minute")(view)


both = pytest.mark.parametrize("guard", [protect, decorate])
"""By the policy, and by decorators on our limiter."""


def stock(app, key_func=get_remote_address, **options):
    return Limiter(key_func, app=app, default_limits=[f"{AMOUNT}/minute"], storage_uri="memory://", **options)


def passed(app, send, tries=TRIES):
    """How many of `tries` attempts were not refused; `send(client, i)` makes one."""
    client = app.test_client()
    return sum(send(client, i).status_code not in {429, 503} for i in range(tries))
