"""Agents hand on to a gateway: with a token, over TLS, and without mixing up whose counters are whose."""

from __future__ import annotations

import subprocess

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_ratelimit.core import names
from otel_ratelimit.demo.stack.collector import configuration_folder

TOKEN = "token-of-the-test"


@pytest.fixture
def gateway(start_collector, backend):
    return start_collector(
        "gateway", traces=backend.endpoint, OTELCOL_GATEWAY_TOKEN=TOKEN, OTELCOL_SAMPLING_PERCENTAGE="100"
    )


@pytest.fixture
def start_agent(start_collector, gateway):
    def start(name: str, **settings: str):
        return start_collector(
            "agent",
            OTELCOL_AGENT_NAME=name,
            OTELCOL_GATEWAY_EXPORTER="otlp_http",
            OTELCOL_GATEWAY_ENDPOINT=gateway.addresses.endpoint,
            **{"OTELCOL_GATEWAY_TOKEN": TOKEN, **settings},
        )

    return start


def count(collector, requests: int) -> None:
    """Count like a worker of an application that names its processes itself."""
    resource = Resource.create({"service.name": "shop", "service.instance.id": "worker-1"})
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.addresses.endpoint}/v1/metrics"))
    meters = MeterProvider([reader], resource)
    counter = meters.get_meter(names.METER).create_counter(names.REQUESTS, "{request}")
    counter.add(requests, {names.DECISION: "allowed"})
    meters.shutdown()


def trace(collector, spans: int) -> None:
    tracers = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    tracers.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{collector.addresses.endpoint}/v1/traces"))
    )
    for _ in range(spans):
        tracers.get_tracer("opentelemetry.instrumentation.flask").start_span("GET /").end()
    tracers.shutdown()


def test_equal_instances_on_two_machines_stay_two_series(gateway, start_agent, wait_for):
    for name, requests in (("web-1", 3), ("web-2", 5)):
        count(start_agent(name), requests)

    def series(instance: str, value: str) -> bool:
        return (
            f'otel_ratelimit_requests_total{{instance="{instance}/worker-1",job="shop",'
            f'otel_ratelimit_decision="allowed"}} {value}' in gateway.scrape()
        )

    wait_for(lambda: series("web-1", "3.0"))
    wait_for(lambda: series("web-2", "5.0"))


def test_a_gateway_takes_nothing_from_who_does_not_know_the_token(gateway):
    assert gateway.post("/v1/traces", b"") == 401
    assert gateway.post("/v1/traces", b"", Authorization="Bearer of-somebody-else") == 401
    assert gateway.post("/v1/traces", b"", Authorization=f"Bearer {TOKEN}") == 200


def test_an_agent_keeps_both_signals_while_the_gateway_is_away_though_it_is_killed(
    gateway, start_agent, backend, wait_for
):
    agent = start_agent("web-1")
    gateway.stop()
    trace(agent, 100)
    count(agent, 7)
    agent.kill()
    gateway.start()
    agent.start()

    wait_for(lambda: len({span.span_id for span in backend.spans()}) == 100, 40)
    wait_for(lambda: "otel_ratelimit_requests_total" in gateway.scrape(), 40)
    assert len(backend.spans()) == 100


@pytest.fixture
def certificate(installed, tmp_path):
    openssl = installed("openssl", "openssl")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_agents_reach_a_gateway_over_grpc_with_tls(start_collector, backend, certificate, wait_for):
    cert, key = (str(path) for path in certificate)
    gateway = start_collector(
        "gateway",
        traces=backend.endpoint,
        more_files=[configuration_folder() / "tls.yaml"],
        OTELCOL_GATEWAY_TOKEN=TOKEN,
        OTELCOL_TLS_CERT_FILE=cert,
        OTELCOL_TLS_KEY_FILE=key,
        OTELCOL_SAMPLING_PERCENTAGE="100",
    )
    agent = start_collector(
        "agent",
        OTELCOL_GATEWAY_ENDPOINT=f"https://127.0.0.1:{gateway.addresses.otlp_grpc}",
        OTELCOL_GATEWAY_CA_FILE=cert,
        OTELCOL_GATEWAY_TOKEN=TOKEN,
    )
    trace(agent, 3)

    wait_for(lambda: len(backend.spans()) == 3)


def test_a_node_sends_traces_over_grpc(start_collector, backend, wait_for):
    next_one = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="100")
    node = start_collector(
        OTELCOL_TRACES_EXPORTER="otlp_grpc",
        OTELCOL_TRACES_ENDPOINT=f"http://127.0.0.1:{next_one.addresses.otlp_grpc}",
        OTELCOL_TRACES_INSECURE="true",
        OTELCOL_SAMPLING_PERCENTAGE="100",
    )
    trace(node, 3)

    wait_for(lambda: len(backend.spans()) == 3)
