"""Services that share a Redis or Valkey count apart, and replicas of one service together."""

from __future__ import annotations

import logging

import flask
import pytest
from half_over import DAY_OR_TWO
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from redis import Redis

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

POLICY = f"""
version = 1
[tiers]
default = "3/minute; 100/hour"
[[routes]]
match = "/sliding"
limits = "3/{DAY_OR_TWO} seconds"
strategy = "sliding-window-counter"
"""
TOKEN = "a-token-for-everything"
ADMIN = "another-token-that-may-change"
PATHS = ["/counted", "/sliding", "/declared", "/never-defined"]


@pytest.fixture
def server(engine):
    return engine()


@pytest.fixture
def replica(server):
    """`replica(environ)`: a process of a service, each with its application called `app`."""
    running = []

    def start(environ=None, *, import_name="app", **arguments):
        app = flask.Flask(import_name)
        app.add_url_rule("/counted", "counted", lambda: "ok")
        app.add_url_rule("/sliding", "sliding", lambda: "ok")
        rate_limit = RateLimit(
            app,
            policy=parse_policy(POLICY, "services.toml"),
            storage_uri=server.uri,
            environ=environ or {},
            api_token=TOKEN,
            admin_token=ADMIN,
            **arguments,
        )

        @app.get("/declared")
        @rate_limit.limiter.limit("3/minute")
        def declared():
            return "ok"

        running.append(rate_limit)
        return app

    yield start
    for rate_limit in running:
        rate_limit.close()


def use_up(app, path):
    client = app.test_client()
    statuses = [client.get(path).status_code for _ in range(4)]
    assert statuses[-1] == 429
    assert 429 not in statuses[:-1]


def refused(app, path):
    return app.test_client().get(path).status_code == 429


def resource(**attributes):
    named = {key.replace("_", "."): value for key, value in attributes.items()}
    return ",".join(f"{key}={value}" for key, value in named.items())


SHOP = {"OTEL_SERVICE_NAME": "shop"}
PRODUCTION = {**SHOP, "OTEL_RESOURCE_ATTRIBUTES": resource(deployment_environment_name="production")}
STAGING = {**SHOP, "OTEL_RESOURCE_ATTRIBUTES": resource(deployment_environment_name="staging")}
OLD_STAGING = {**SHOP, "OTEL_RESOURCE_ATTRIBUTES": resource(deployment_environment="old-staging")}
OF_TEAM = {**SHOP, "OTEL_RESOURCE_ATTRIBUTES": resource(service_namespace="team")}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "other",
    [{"OTEL_SERVICE_NAME": "billing"}, PRODUCTION, STAGING, OLD_STAGING, OF_TEAM, {}],
    ids=["name", "production", "staging", "old attribute", "namespace", "nothing"],
)
def test_what_another_service_used_is_not_taken_from_this_one(replica, other, path):
    use_up(replica(SHOP), path)
    use_up(replica(other), path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("environ", [{}, SHOP, PRODUCTION, {"OTEL_RATELIMIT_KEY_PREFIX": "eu"}])
def test_replicas_of_one_service_count_together(replica, environ, path):
    use_up(replica({**environ, "HOSTNAME": "one"}), path)
    assert refused(replica({**environ, "HOSTNAME": "two"}), path)


@pytest.mark.parametrize("path", PATHS)
def test_applications_of_one_service_count_apart(replica, path):
    use_up(replica(SHOP, import_name="shop.api"), path)
    use_up(replica(SHOP, import_name="shop.admin"), path)


def test_two_applications_of_one_rate_limit_count_apart_where_limits_are_declared(server):
    apps = [flask.Flask("shop.api"), flask.Flask("shop.admin")]
    rate_limit = RateLimit(storage_uri=server.uri, environ=SHOP, shadow=True)
    view = rate_limit.limiter.limit("3/minute")(lambda: "ok")
    for app in apps:
        app.add_url_rule("/declared", "declared", view)
        rate_limit.init_app(app)
    for app in apps:
        use_up(app, "/declared")
    rate_limit.close()


@pytest.mark.parametrize("path", PATHS)
def test_services_that_want_to_can_share(replica, path):
    prefix = {"OTEL_RATELIMIT_KEY_PREFIX": "common"}
    use_up(replica({**SHOP, **prefix}), path)
    assert refused(replica({**STAGING, "OTEL_SERVICE_NAME": "billing"}, key_prefix="common"), path)


def test_a_replica_that_names_its_service_in_code_counts_with_one_that_uses_the_environment(replica):
    provider = MeterProvider(resource=Resource({"service.name": "shop", "service.instance.id": "one"}))
    use_up(replica(SHOP), "/counted")
    assert refused(replica(meter_provider=provider), "/counted")


def test_the_key_is_the_one_that_is_documented(replica, server):
    app = replica({**PRODUCTION, "OTEL_SERVICE_NAME": "check out|{x}"})
    app.test_client().get("/counted")
    keys = Redis(port=server.port).keys("*")
    assert len(keys) == 2
    for key in keys:
        client, rest = key.decode().removeprefix("LIMITS:{").split("}", 1)
        assert len(client) > 16
        assert rest.startswith("production::check%2520out%257C%257Bx%257D:app|counted")
        assert rest.count("|") == 4
        assert rest.isprintable()


def test_the_api_sees_and_resets_the_counters_that_requests_use(replica):
    app = replica(PRODUCTION)
    client = app.test_client()
    use_up(app, "/counted")
    asked = "/api/rate-limit/status?ip=127.0.0.1&path=/counted"
    seen = client.get(asked, headers={"Authorization": f"Bearer {TOKEN}"})
    assert seen.status_code == 200, seen.json
    assert seen.json["decision"] == "blocked"
    reset = client.delete(asked, headers={"Authorization": f"Bearer {ADMIN}"})
    assert reset.status_code == 200, reset.json
    assert not refused(app, "/counted")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, 1),
        ({"OTEL_SERVICE_NAME": "unknown_service"}, 1),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=production"}, 1),
        (SHOP, 0),
        ({"OTEL_RATELIMIT_KEY_PREFIX": "eu"}, 0),
    ],
)
def test_a_shared_store_and_no_name_is_said_once_with_what_to_set(replica, caplog, environ, said):
    caplog.set_level(logging.WARNING)
    replica(environ)
    warnings = [r.getMessage() for r in caplog.records if "OTEL_RATELIMIT_KEY_PREFIX" in r.getMessage()]
    assert len(warnings) == said
    assert all("OTEL_SERVICE_NAME" in text for text in warnings)


@pytest.mark.parametrize("uri", ["bounded-memory://", "memory://"])
def test_a_store_of_one_process_needs_no_name(caplog, uri):
    rate_limit = RateLimit(flask.Flask("app"), storage_uri=uri, environ={})
    rate_limit.close()
    assert "OTEL_SERVICE_NAME" not in caplog.text


@pytest.mark.parametrize("prefix", ["a b", "a|b", "{x}", "ä", "x" * 65, "a\nb", "%41"])
def test_a_prefix_that_could_be_misread_is_refused(server, prefix):
    with pytest.raises(Exception, match=r"OTEL_RATELIMIT_KEY_PREFIX: .* is not a prefix"):
        RateLimit(flask.Flask("app"), storage_uri=server.uri, key_prefix=prefix, environ={})
