"""Backend away, collector killed: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import collections
import re
import threading
import time
from dataclasses import dataclass, field

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_ratelimit.core import names

AWAY_SECONDS = 60.0
RATE = 50.0
"""Requests a second, three spans each."""
PATIENCE_SECONDS = 40
"""OTEL_EXPORTER_OTLP_TIMEOUT as the README advises: longer than a restart of the collector takes."""
QUERIES = 2


@dataclass
class Traffic:
    """An application as the collector sees it: the real SDK, one counter and one trace for each request."""

    endpoint: str
    requests: int = 0
    spans: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    """Spans of traces with a 429."""

    def __post_init__(self) -> None:
        resource = Resource.create({"service.name": "shop", "service.instance.id": "worker-1"})
        self._tracers = TracerProvider(resource=resource)
        spans = OTLPSpanExporter(f"{self.endpoint}/v1/traces", timeout=PATIENCE_SECONDS)
        self._tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=1000))
        metrics = OTLPMetricExporter(f"{self.endpoint}/v1/metrics", timeout=PATIENCE_SECONDS)
        self._meters = MeterProvider([PeriodicExportingMetricReader(metrics, 1000)], resource)
        self._tracer = self._tracers.get_tracer("opentelemetry.instrumentation.flask")
        self._counter = self._meters.get_meter(names.METER).create_counter(names.REQUESTS, "{request}")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(1 / RATE):
            self._request(refused=self.requests % 25 == 0)

    def _request(self, *, refused: bool) -> None:
        attributes = {
            names.HTTP_ROUTE: "/things",
            names.HTTP_REQUEST_METHOD: "GET",
            "http.response.status_code": 429 if refused else 200,
        }
        ids = set()
        with self._tracer.start_as_current_span(
            "GET /things", kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:
            ids.add(span.get_span_context().span_id)
            for _ in range(QUERIES):
                query = {"db.system": "postgresql", "db.statement": "SELECT 1"}
                with self._tracer.start_as_current_span(
                    "SELECT", kind=trace.SpanKind.CLIENT, attributes=query
                ) as below:
                    ids.add(below.get_span_context().span_id)
            decision = "blocked" if refused else "allowed"
            self._counter.add(1, {names.DECISION: decision, names.TIER: "default"})
        self.requests += 1
        self.spans |= ids
        if refused:
            self.refused |= ids

    def finish(self) -> None:
        """Everything is sent; may be called twice."""
        if self._done.is_set():
            return
        self._done.set()
        self._thread.join()
        self._tracers.shutdown()
        self._meters.shutdown()


@pytest.fixture
def send(start_collector):
    """`send(collector)`: traffic to it, which ends before the collector does."""
    started: list[Traffic] = []

    def start(collector) -> Traffic:
        started.append(Traffic(collector.addresses.endpoint))
        return started[-1]

    yield start
    for traffic in started:
        traffic.finish()


def counted(exposition: str, metric: str, **labels: str) -> float:
    """Sum over the series of a counter that have these labels."""
    series = re.findall(rf"^{metric}(\{{.*?\}}) (\S+)", exposition, re.MULTILINE)
    return sum(
        float(value)
        for text, value in series
        if all(f'{label}="{wanted}"' in text for label, wanted in labels.items())
    )


def arrived(backend) -> collections.Counter[int]:
    return collections.Counter(int.from_bytes(span.span_id, "big") for span in backend.spans())


@pytest.mark.timeout(300)
def test_a_minute_without_a_backend_and_a_killed_collector_lose_nothing(
    start_collector, send, backend, wait_for
):
    collector = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="100")
    traffic = send(collector)
    wait_for(lambda: arrived(backend))

    backend.stop()
    away_since = time.monotonic()
    seen = traffic.requests
    wait_for(lambda: traffic.requests > seen + 10 * RATE, 60)
    collector.kill()
    killed_at = traffic.requests
    wait_for(lambda: traffic.requests > killed_at + 3 * RATE, 60)
    collector.start()
    wait_for(lambda: time.monotonic() > away_since + AWAY_SECONDS, AWAY_SECONDS)
    on_disk = len(collector.on_disk())
    backend.start()
    traffic.finish()

    wait_for(lambda: len(arrived(backend)) >= 0.999 * len(traffic.spans), 60)
    found = arrived(backend)
    assert traffic.requests > AWAY_SECONDS * RATE / 2
    assert set(found) <= traffic.spans
    assert len(found) >= 0.999 * len(traffic.spans)
    assert sum(found.values()) - len(found) <= 512, (
        "more than the one batch that was on its way arrived twice"
    )
    assert 0 < on_disk < 536_870_912

    exposition = collector.scrape()
    for decision, count in (("blocked", len(traffic.refused) / (1 + QUERIES)), ("", traffic.requests)):
        labels = {"otel_ratelimit_decision": decision} if decision else {}
        assert counted(exposition, "otel_ratelimit_requests_total", **labels) == count
    after = counted(exposition, "traces_span_metrics_calls_total", span_kind="SPAN_KIND_SERVER")
    assert after <= traffic.requests - killed_at + 3 * RATE, "spans were counted twice"


def test_stopping_the_collector_loses_no_span_that_it_took(start_collector, send, backend, wait_for):
    collector = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="100")
    traffic = send(collector)
    wait_for(lambda: arrived(backend))

    for _ in range(3):
        seen = traffic.requests
        wait_for(lambda seen=seen: traffic.requests > seen + RATE)
        collector.stop()
        collector.start()
    traffic.finish()

    wait_for(lambda: set(arrived(backend)) == traffic.spans)


def test_refused_requests_survive_a_kill_though_nothing_else_is_sampled(
    start_collector, send, backend, wait_for
):
    collector = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="0")
    traffic = send(collector)
    wait_for(lambda: arrived(backend))

    for _ in range(3):
        seen = traffic.requests
        wait_for(lambda seen=seen: traffic.requests > seen + RATE)
        collector.kill()
        collector.start()
    traffic.finish()

    wait_for(lambda: traffic.refused <= set(arrived(backend)))
    assert set(arrived(backend)) == traffic.refused


def test_a_full_queue_refuses_what_is_new_and_says_so(start_collector, send, backend, wait_for):
    backend.stop()
    collector = start_collector(
        traces=backend.endpoint,
        OTELCOL_SAMPLING_PERCENTAGE="100",
        OTELCOL_QUEUE_BYTES="524288",
        OTELCOL_STORAGE_BYTES="157286400",
    )
    traffic = send(collector)

    wait_for(lambda: counted(collector.own_metrics(), "otelcol_exporter_enqueue_failed_spans"), 60)
    size = counted(collector.own_metrics(), "otelcol_exporter_queue_size", exporter="otlp_http")
    capacity = counted(collector.own_metrics(), "otelcol_exporter_queue_capacity", exporter="otlp_http")
    assert capacity == 524_288
    assert 0.8 * capacity < size <= capacity
    on_disk, seen = len(collector.on_disk()), traffic.requests
    wait_for(lambda: traffic.requests > seen + 5 * RATE)
    assert len(collector.on_disk()) == on_disk
    backend.start()
    traffic.finish()

    wait_for(lambda: counted(collector.own_metrics(), "otelcol_exporter_queue_size") == 0)
    assert counted(collector.scrape(), "otel_ratelimit_requests_total") == traffic.requests
