"""Prefixes keep the counters of services in one store apart, and let replicas share them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_ratelimit.storage.key_namespace import Service, key_namespace, key_prefix, service_of

SHOP = {"service.name": "shop", "service.namespace": "web", "deployment.environment.name": "production"}


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({}, Service()),
        ({"OTEL_SERVICE_NAME": "shop"}, Service("shop")),
        ({"OTEL_SERVICE_NAME": " "}, Service()),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop"}, Service("shop")),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=other", "OTEL_SERVICE_NAME": "shop"}, Service("shop")),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": " service.namespace = web ,deployment.environment=staging,,x,=y"},
            Service("", "web", "staging"),
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=old,deployment.environment.name=new"},
            Service("", "", "new"),
        ),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=caf%C3%A9%2Cbar"}, Service("café,bar")),
        ({"OTEL_SERVICE_NAME": "unknown_service:gunicorn"}, Service()),
    ],
)
def test_the_environment_says_what_service_this_is(environ, service):
    assert service_of(environ) == service


@pytest.mark.parametrize("provider", [MeterProvider, TracerProvider])
def test_the_live_resource_comes_before_the_environment(provider):
    live = provider(resource=Resource(SHOP))
    assert service_of({"OTEL_SERVICE_NAME": "other"}, [live]) == Service("shop", "web", "production")


@pytest.mark.parametrize("provider", [MeterProvider, TracerProvider])
def test_what_the_live_resource_does_not_say_is_read_from_the_environment(provider):
    live = provider(resource=Resource({"service.name": "unknown_service:python"}))
    environ = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=web"}
    assert service_of(environ, [live]) == Service("shop", "web")


@pytest.mark.parametrize(
    "provider",
    [NoOpMeterProvider(), None, object(), SimpleNamespace(resource=None), SimpleNamespace(_sdk_config=3)],
)
def test_a_provider_without_a_resource_says_nothing(provider):
    assert service_of({"OTEL_SERVICE_NAME": "shop"}, [provider]) == Service("shop")


def test_nothing_known_leaves_keys_as_they_were():
    assert key_namespace(key_prefix("", Service()), "app") == "app"


def test_environment_namespace_service_and_application_stand_in_the_key():
    prefix = key_prefix("", Service("shop", "web", "production"))
    assert key_namespace(prefix, "app") == "production:web:shop:app"
    assert key_namespace(key_prefix("", Service("shop")), "app") == "::shop:app"


def test_a_prefix_of_ones_own_stands_in_place_of_the_service():
    assert key_namespace(key_prefix("eu/shop", Service("shop", "web", "production")), "app") == "eu/shop:app"


names = st.text(max_size=200)
services = st.builds(Service, names, names, names)


@given(services, services)
def test_different_services_have_different_prefixes_of_bounded_length(one, other):
    first, second = key_prefix("", one), key_prefix("", other)
    assert (first == second) is (one == other)
    assert len(first) <= 96
    assert not set(first) & set("{}|\n ")
