"""Losses that a collector counts: rules read them, and the series do not exist before the first loss."""

from __future__ import annotations

import re

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

POINTS = 5_000
LEAST_QUEUE_BYTES = 524_288


def spans():
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"t" * 16, b"s" * 8, "otel_ratelimit.report"
    return request.SerializeToString()


def points():
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = "otel_ratelimit.requests"
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
    for number in range(POINTS):
        point = metric.sum.data_points.add(as_int=1)
        attribute = point.attributes.add(key="http.route")
        attribute.value.string_value = f"/a/route/of/some/length/which/makes/the/queue/full/{number}"
    return request.SerializeToString()


@pytest.fixture
def agent(start_collector, backend):
    return start_collector(
        "agent",
        OTELCOL_GATEWAY_EXPORTER="otlp_http",
        OTELCOL_GATEWAY_ENDPOINT=backend.endpoint,
        OTELCOL_GATEWAY_TOKEN="throw-away",
        OTELCOL_QUEUE_BYTES=str(LEAST_QUEUE_BYTES),
    )


def is_counted(collector, metric):
    found = re.search(rf"^{metric}{{.*}} (\S+)$", collector.own_metrics(), flags=re.MULTILINE)
    return found is not None and float(found[1]) > 0


def test_what_the_backend_will_not_have_is_counted(agent, backend, wait_for):
    backend.status = 400
    agent.post("/v1/traces", spans())
    agent.post("/v1/metrics", points())
    wait_for(lambda: is_counted(agent, "otelcol_exporter_send_failed_spans"))
    wait_for(lambda: is_counted(agent, "otelcol_exporter_send_failed_metric_points"))


def test_metrics_without_room_in_the_queue_are_counted(agent, backend, wait_for):
    backend.stop()
    body = points()
    # Waits for the backend, while others wait for room.
    for _ in range(4 * LEAST_QUEUE_BYTES // len(body) + 4):
        agent.post("/v1/metrics", body)
    wait_for(lambda: is_counted(agent, "otelcol_exporter_enqueue_failed_metric_points"))
