"""Secrets are planted wherever OTLP has room for text, and must leave the collector nowhere."""

from __future__ import annotations

import random

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from planted_otlp import HARMLESS, MARK, TEMPTING, Secrets, assert_nowhere, metrics, spans

from otel_ratelimit.demo.stack import collector as stack

OLD_NAMES = {"http.method": "GET", "http.status_code": 429, "db.system": "postgresql", "db.name": "shop"}


@pytest.fixture
def node(start_collector, backend):
    return start_collector(
        traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="100", OTELCOL_SPAN_METRICS_INTERVAL="1s"
    )


@pytest.fixture
def agent(start_collector, backend):
    """Hands metrics on as OTLP too, with all that Prometheus has no room for."""
    return start_collector(
        "agent",
        OTELCOL_GATEWAY_EXPORTER="otlp_http",
        OTELCOL_GATEWAY_ENDPOINT=backend.endpoint,
        OTELCOL_GATEWAY_TOKEN="token-of-the-test",
        OTELCOL_AGENT_NAME="web-1",
    )


@pytest.fixture(params=["node", "agent"])
def collector(collector_program, request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def all_has_left(collector, backend, wait_for):
    """`all_has_left(spans, metric)`: waits for so many spans, and for the metric and the spans' own."""

    def sent_on(metric: str) -> bool:
        return any(metric.encode() in body for path, body in backend.bodies if path == "/v1/metrics")

    def wait(spans: int, metric: str) -> None:
        wait_for(lambda: len(backend.spans()) == spans)
        if collector.collector.role == "agent":
            wait_for(lambda: sent_on(metric))
        else:
            wait_for(lambda: metric.replace(".", "_") in collector.scrape())
            wait_for(lambda: "traces_span_metrics_calls_total" in collector.scrape())

    return wait


def test_no_field_of_otlp_lets_a_secret_through(collector, backend, all_has_left):
    secrets = Secrets()
    for everywhere in (False, True):
        assert collector.post("/v1/traces", spans(secrets, everywhere=everywhere)) == 200
        assert collector.post("/v1/metrics", metrics(secrets, everywhere=everywhere)) == 200

    all_has_left(6, "otel_ratelimit.a.histogram")
    assert secrets.count > 1000
    assert_nowhere(collector, backend)


def test_what_the_sdk_sends_leaves_without_its_secrets(collector, backend, all_has_left):
    secrets = Secrets()
    resource = Resource.create(
        {"service.name": "shop", "deployment.environment": "test", **_tempting(secrets)}
    )
    _record_spans(collector, resource, secrets)
    _record_metrics(collector, resource, secrets)

    all_has_left(2, "otel_ratelimit.requests")
    assert secrets.count > 200
    assert_nowhere(collector, backend)


def test_what_is_harmless_arrives_under_its_new_name(node, backend, wait_for):
    secrets = Secrets()
    resource = Resource.create(
        {
            "service.name": "shop",
            "service.version": "1.2",
            "service.instance.id": "worker-1",
            "deployment.environment": "test",
            **_tempting(secrets),
        }
    )
    _record_spans(node, resource, secrets)

    wait_for(lambda: len(backend.spans()) == 2)
    by_name = {span.name: span for span in backend.spans()}
    assert set(by_name) == {"GET /api/<int:id>", "SELECT"}
    assert _attributes(by_name["GET /api/<int:id>"].attributes) == HARMLESS
    assert _attributes(by_name["SELECT"].attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 429,
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.operation.name": "SELECT",
    }
    [resource_spans] = backend.requests()[0].resource_spans[:1]
    kept = _attributes(resource_spans.resource.attributes)
    assert kept.pop("telemetry.sdk.version")
    assert kept == {
        "service.name": "shop",
        "service.version": "1.2",
        "service.instance.id": "worker-1",
        "deployment.environment.name": "test",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "python",
    }
    [event] = by_name["GET /api/<int:id>"].events
    assert (event.name, _attributes(event.attributes)) == ("exception", {"exception.type": "ValueError"})


def _attributes(attributes) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _tempting(secrets: Secrets) -> dict[str, str]:
    return {key: secrets.one() for key in TEMPTING}


def _record_spans(collector, resource: Resource, secrets: Secrets) -> None:
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{collector.addresses.endpoint}/v1/traces"))
    )
    tracer = provider.get_tracer(
        "opentelemetry.instrumentation.flask", "0.66b1", f"https://{secrets.one()}", _tempting(secrets)
    )
    caller = trace.SpanContext(
        random.getrandbits(128),
        random.getrandbits(64),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        trace_state=trace.TraceState([("vendor", secrets.one())]),
    )
    with tracer.start_as_current_span(
        f"GET /{secrets.one()}",
        trace.set_span_in_context(trace.NonRecordingSpan(caller)),
        kind=trace.SpanKind.SERVER,
        attributes={**_tempting(secrets), **HARMLESS},
        links=[trace.Link(caller, _tempting(secrets))],
    ) as span:
        span.record_exception(ValueError(secrets.one()), _tempting(secrets))
        span.set_status(trace.StatusCode.ERROR, secrets.one())
        with tracer.start_as_current_span(
            "SELECT",
            kind=trace.SpanKind.CLIENT,
            attributes={**_tempting(secrets), **OLD_NAMES, "db.statement": f"SELECT '{secrets.one()}"},
        ):
            pass
    provider.shutdown()


def _record_metrics(collector, resource: Resource, secrets: Secrets) -> None:
    provider = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.addresses.endpoint}/v1/metrics"))],
        resource,
        exemplar_filter=AlwaysOnExemplarFilter(),
        # Attributes that the view removes from the point go to its exemplar.
        views=[View(instrument_name="otel_ratelimit.requests", attribute_keys=set(HARMLESS))],
    )
    meter = provider.get_meter("otel_ratelimit", "0.1", f"https://{secrets.one()}", _tempting(secrets))
    meter.create_counter("otel_ratelimit.requests", "{request}", secrets.one()).add(
        1, {**_tempting(secrets), **HARMLESS}
    )
    meter.create_histogram("otel_ratelimit.utilization", "1", secrets.one()).record(0.5, _tempting(secrets))
    meter.create_counter("http.server.x", MARK, secrets.one()).add(1, _tempting(secrets))
    meter.create_counter(f"app.{MARK}", "1", secrets.one()).add(1, _tempting(secrets))
    provider.shutdown()


def test_names_of_the_applications_own_stay_once_they_are_listed(start_collector, backend, wait_for):
    collector = start_collector(
        traces=backend.endpoint,
        OTELCOL_SAMPLING_PERCENTAGE="100",
        OTELCOL_METRIC_NAMES="(otel_ratelimit|jobs)([.][a-z0-9_]+)+",
        OTELCOL_SPAN_NAMES="match jobs|send mail",
        OTELCOL_SCOPE_NAMES="jobs",
    )
    tracers = TracerProvider()
    tracers.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{collector.addresses.endpoint}/v1/traces"))
    )
    for name in ("match jobs", f"match jobs of {MARK}"):
        tracers.get_tracer("jobs").start_span(name).end()
    tracers.shutdown()
    exporter = OTLPMetricExporter(f"{collector.addresses.endpoint}/v1/metrics")
    meters = MeterProvider([PeriodicExportingMetricReader(exporter)])
    for name in ("jobs.matched", f"jobs{MARK}.matched"):
        meters.get_meter("jobs").create_counter(name).add(1)
    meters.shutdown()

    wait_for(lambda: {span.name for span in backend.spans()} == {"match jobs", "other"})
    [scope] = backend.requests()[0].resource_spans[0].scope_spans
    assert scope.scope.name == "jobs"
    wait_for(lambda: "jobs_matched_total" in collector.scrape())
    assert MARK not in collector.scrape()


def test_what_the_second_net_masks_in_a_route_is_in_no_name(collector, backend, all_has_left):
    """A route that somebody made of a path, with a web token in it, has the shape of one."""
    token = f"eyJhbGciOiJ{MARK}.eyJzdWIiOiJ{MARK}"
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for _ in range(2):
        span = scope.spans.add(name=f"GET /reset/{token}", kind=Span.SPAN_KIND_SERVER)
        span.trace_id, span.span_id = random.randbytes(16), random.randbytes(8)
        for key, value in (("http.request.method", "GET"), ("http.route", f"/reset/{token}")):
            span.attributes.add(key=key).value.string_value = value
    assert collector.post("/v1/traces", request.SerializeToString()) == 200
    assert collector.post("/v1/metrics", metrics(Secrets(), everywhere=False)) == 200

    all_has_left(2, "otel_ratelimit.a.histogram")
    assert {span.name for span in backend.spans()} == {"GET /reset/****"}
    assert_nowhere(collector, backend)


def test_logs_are_not_taken(node):
    assert node.post("/v1/logs", b"") == 404


def test_what_cannot_be_read_is_refused_without_repeating_it(node):
    secret = Secrets().one().encode()

    assert node.post("/v1/traces", b"\x0a\xff" + secret) == 400
    assert MARK not in node.said()
    assert MARK not in node.own_metrics()


def test_spans_with_links_are_dropped_where_their_links_cannot_be_removed(
    start_collector, backend, wait_for, monkeypatch
):
    """A collector that is started without its feature gate loses spans, but no secrets."""
    monkeypatch.setattr(stack, "FEATURE_GATES", ())
    collector = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="100")
    secrets = Secrets()

    _record_spans(collector, Resource.create({"service.name": "shop"}), secrets)

    wait_for(lambda: 'spans_filtered{filter="filter/links"} 1' in collector.own_metrics())
    wait_for(lambda: [span.name for span in backend.spans()] == ["SELECT"])
    assert not any(MARK.encode() in body for _, body in backend.bodies)
