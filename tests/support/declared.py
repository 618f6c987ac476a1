"""Views with decorated limits, on our limiter and on stock Flask-Limiter, and how many requests pass."""

from __future__ import annotations

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

METHODS = ("GET", "HEAD", "POST", "PUT")
TRIES = 12
DEFAULT = 5


def ours(app, default=DEFAULT, **options):
    text = default if isinstance(default, str) else f"{default}/minute"
    policy = parse_policy(f'version = 1\n[tiers]\ndefault = "{text}"\n', "declared.toml")
    return RateLimit(app, policy=policy, environ={}, **options).limiter


def allowed(app, requests, path="/thing"):
    """How many of these requests were let through, for each method."""
    client = app.test_client()
    passed = dict.fromkeys(METHODS, 0)
    for method in requests:
        passed[method] += client.open(path, method=method).status_code not in {429, 503}
    return passed


def add_view(app, *decorators, methods=("GET", "POST", "PUT"), path="/thing"):
    def thing():
        return "ok"

    view = thing
    for decorate in reversed(decorators):
        view = decorate(view)
    app.add_url_rule(path, path.strip("/"), view, methods=methods)
