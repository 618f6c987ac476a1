"""Which traces are kept, and that the spans' metrics count all of them."""

from __future__ import annotations

import re

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_ratelimit.core import names

NOW = 1_700_000_000_000_000_000
MILLISECOND = 1_000_000

KEPT = {
    "an error": {"status": Status.STATUS_CODE_ERROR},
    "429": {"attributes": {"http.response.status_code": 429}},
    "429 by its old name": {"attributes": {"http.status_code": 429}},
    "503": {"attributes": {"http.response.status_code": 503}},
    "blocked": {"attributes": {"otel_ratelimit.decision": "blocked"}},
    "blocked in shadow": {"attributes": {"otel_ratelimit.decision": "shadow_blocked"}},
    "a failed store": {"attributes": {"otel_ratelimit.decision": "error"}},
    "a slow query": {"attributes": {"db.system": "postgresql"}, "kind": Span.SPAN_KIND_CLIENT, "took": 260},
    "a slow request": {"attributes": {"http.route": "/"}, "took": 1010},
}
NOT_KEPT = {
    "allowed": {"attributes": {"otel_ratelimit.decision": "allowed", "http.response.status_code": 200}},
    "not found": {"attributes": {"http.response.status_code": 404}},
    "a fast query": {"attributes": {"db.system": "postgresql"}, "kind": Span.SPAN_KIND_CLIENT, "took": 240},
    "a request that took a while": {"attributes": {"http.route": "/"}, "took": 990},
    "slow work that is neither": {"kind": Span.SPAN_KIND_INTERNAL, "took": 5000},
}


def _span(number: int, trace: int, *, attributes=None, kind=Span.SPAN_KIND_SERVER, took=1, status=0) -> Span:
    span = Span(
        trace_id=trace.to_bytes(16),
        span_id=number.to_bytes(8),
        kind=kind,
        start_time_unix_nano=NOW,
        end_time_unix_nano=NOW + took * MILLISECOND,
    )
    span.status.code = status
    for key, value in (attributes or {}).items():
        each = span.attributes.add(key=key).value
        if isinstance(value, int):
            each.int_value = value
        else:
            each.string_value = value
    return span


@pytest.fixture
def send():
    def post(collector, spans: list[Span]) -> None:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        for key, value in (
            ("service.name", "shop"),
            ("service.instance.id", "worker-1"),
            ("deployment.environment", "test"),
        ):
            resource.resource.attributes.add(key=key).value.string_value = value
        resource.scope_spans.add().spans.extend(spans)
        assert collector.post("/v1/traces", request.SerializeToString()) == 200

    return post


def _arrived(backend) -> set[int]:
    return {int.from_bytes(span.span_id) for span in backend.spans()}


def test_what_hurts_somebody_is_kept_and_the_rest_is_not(start_collector, backend, send, wait_for):
    collector = start_collector(
        traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="0", OTELCOL_DECISION_WAIT="1s"
    )
    cases = list(enumerate([*KEPT.values(), *NOT_KEPT.values()], start=1))

    send(collector, [_span(number, number, **case) for number, case in cases])

    wait_for(lambda: 'global_count_traces_sampled{decision="not_sampled"' in collector.own_metrics())
    wait_for(lambda: len(_arrived(backend)) >= len(KEPT))
    assert _arrived(backend) == set(range(1, len(KEPT) + 1))


def test_the_whole_trace_is_kept_when_its_last_span_shows_that_it_matters(
    start_collector, backend, send, wait_for
):
    collector = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="0")

    send(collector, [_span(1, 7), _span(2, 7)])
    send(collector, [_span(3, 7, status=Status.STATUS_CODE_ERROR)])
    send(collector, [_span(4, 7)])

    wait_for(lambda: _arrived(backend) == {1, 2, 3, 4})


def test_of_the_rest_the_share_asked_for_is_kept_and_all_of_it_is_counted(
    start_collector, backend, send, wait_for
):
    collector = start_collector(
        traces=backend.endpoint,
        OTELCOL_SAMPLING_PERCENTAGE="25",
        OTELCOL_SPAN_METRICS_INTERVAL="1s",
        OTELCOL_DECISION_WAIT="1s",
    )
    attributes = {"http.method": "GET", "http.route": "/things", "http.status_code": 200}

    for first in range(1, 2001, 500):
        send(
            collector,
            [_span(n, n * 0x9E3779B97F4A7C15, attributes=attributes) for n in range(first, first + 500)],
        )

    counted = (
        'traces_span_metrics_calls_total{deployment_environment_name="test",http_request_method="GET",'
        'http_response_status_code="200",http_route="/things",job="shop",service_name="shop",'
        'span_kind="SPAN_KIND_SERVER",span_name="GET /things",status_code="STATUS_CODE_UNSET"} 2000.0'
    )
    wait_for(lambda: counted in collector.scrape())
    assert "traces_span_metrics_duration_seconds_bucket{" in collector.scrape()
    wait_for(lambda: 400 < len(_arrived(backend)) < 600)


def test_metrics_of_spans_lead_to_a_trace(start_collector, backend, send, wait_for):
    collector = start_collector(traces=backend.endpoint, OTELCOL_SPAN_METRICS_INTERVAL="1s")

    def exemplars() -> list[str]:
        send(collector, [_span(1, 0xABCDEF, status=Status.STATUS_CODE_ERROR)])
        return re.findall(r"traces_span_metrics_duration_seconds_bucket.*# \{(.*?)\}", collector.scrape())

    [exemplar, *_] = wait_for(exemplars)
    assert f'trace_id="{0xABCDEF:032x}"' in exemplar


def test_a_refusal_leads_to_its_trace(start_collector, backend, wait_for):
    collector = start_collector(traces=backend.endpoint)
    resource = Resource.create({"service.name": "shop"})
    exporter = OTLPMetricExporter(f"{collector.addresses.endpoint}/v1/metrics")
    meters = MeterProvider([PeriodicExportingMetricReader(exporter)], resource)
    counter = meters.get_meter(names.METER).create_counter(names.REQUESTS, "{request}")
    with TracerProvider(resource=resource).get_tracer("shop").start_as_current_span("GET /") as span:
        counter.add(1, {names.DECISION: "blocked"})
    meters.shutdown()

    def exemplars() -> list[str]:
        return re.findall(r"otel_ratelimit_requests_total.*# \{(.*?)\}", collector.scrape())

    [exemplar] = wait_for(exemplars)
    assert f'trace_id="{span.get_span_context().trace_id:032x}"' in exemplar


def test_routes_without_end_share_one_series(start_collector, backend, send, wait_for):
    """An application that puts an id into http.route must not fill Prometheus."""
    collector = start_collector(traces=None, OTELCOL_SPAN_METRICS_INTERVAL="1s")
    spans = [_span(n, n, attributes={"http.method": "GET", "http.route": f"/{n}"}) for n in range(1, 3001)]

    for first in range(0, 3000, 500):
        send(collector, spans[first : first + 500])

    wait_for(lambda: 'otel_metric_overflow="true"' in collector.scrape())
    assert collector.scrape().count("traces_span_metrics_calls_total{") <= 2001
