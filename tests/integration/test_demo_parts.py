"""The parts below the demo: supervised processes, PostgreSQL, the OTLP receiver, clearing up."""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from processes import runs
from waiting import wait_for

from otel_ratelimit.core import names
from otel_ratelimit.demo.client_reports import ClientReport, Recorder, Refusal
from otel_ratelimit.demo.errors import DemoError
from otel_ratelimit.demo.gunicorn_server import POLICY, Server, Serving, clean_environment
from otel_ratelimit.demo.jobs_app.app import create_app
from otel_ratelimit.demo.otlp_receiver import Receiver
from otel_ratelimit.demo.ports import LOOPBACK, choose_port
from otel_ratelimit.demo.received_telemetry import Histogram, Point, Telemetry
from otel_ratelimit.demo.results import reconcile, summarise
from otel_ratelimit.policy import PolicyResolver, load_policy
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess


def python(code, tmp_path, **more):
    return Launch(
        command=[sys.executable, "-c", code], log=tmp_path / "log", env=os.environ, cwd=tmp_path, **more
    )


def test_a_supervised_process_is_asked_to_stop(tmp_path):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('goodbye')))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    process = SupervisedProcess(python(code, tmp_path))
    wait_for(lambda: "ready" in process.last_lines())
    assert process.exit_status is None
    process.stop()
    assert process.exit_status == 0
    assert process.last_lines() == "ready\ngoodbye"


def test_a_process_that_does_not_stop_is_killed_with_its_children(tmp_path):
    code = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\nif child: print(os.getpid(), child, flush=True)\ntime.sleep(60)"
    )
    process = SupervisedProcess(python(code, tmp_path, grace=0.2))
    wait_for(lambda: len(process.last_lines().split()) == 2)
    pids = [int(pid) for pid in process.last_lines().split()]
    process.stop()
    wait_for(lambda: not any(runs(pid) for pid in pids))


def test_a_process_ends_when_its_starter_is_killed(tmp_path):
    starter = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess\n"
        "here = Path(sys.argv[1])\n"
        "code = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "kept = SupervisedProcess(Launch([sys.executable, '-c', code], here / 'log', os.environ, here))\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", starter, str(tmp_path)])
    log = tmp_path / "log"
    wait_for(lambda: log.exists() and log.read_text().strip())
    child = int(log.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not runs(child))


def test_a_program_that_is_not_there_says_so_in_the_log(tmp_path):
    process = SupervisedProcess(Launch(["/no/such/program"], tmp_path / "log", os.environ, tmp_path))
    assert process.wait(10) == 127
    assert "/no/such/program could not be started" in process.last_lines()


def test_a_port_in_use_is_refused_with_its_owner():
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(DemoError, match=rf"port {port} cannot be used: process {os.getpid()}") as raised:
            choose_port(port)
        assert "--port" in raised.value.remedy
        assert raised.value.exit_status == 2
    assert choose_port(port) == port


def test_a_server_that_ends_shows_its_last_words(tmp_path):
    serving = Serving(
        port=70_000,
        workers=1,
        database_url="",
        otlp_endpoint="http://127.0.0.1:9",
        scratch=tmp_path,
        api_token="0123456789abcdef",
    )
    server = Server(serving, {**os.environ, "OTEL_RATELIMIT_ENABLED": "false"})
    with pytest.raises(DemoError, match=r"gunicorn ended with status 1; its last lines:\n(.*\n)*.*port"):
        server.wait_until_ready()
    server.stop()


def test_the_users_own_settings_do_not_reach_the_demo():
    given = {
        "HOME": "/home/me",
        "PATH": "/bin",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_RATELIMIT_ENABLED": "false",
        "GUNICORN_CMD_ARGS": "-w 9",
        "WEB_CONCURRENCY": "9",
        "DATABASE_URL": "postgresql://production/jobs",
        "PGPASSFILE": "/home/me/.pgpass",
    }
    kept = clean_environment(given)
    assert kept["HOME"] == "/home/me"
    assert kept["PATH"].endswith(":/bin")
    assert set(kept) == {"HOME", "PATH", "NO_PROXY", "no_proxy"}


@pytest.fixture
def received():
    telemetry = Telemetry()
    receiver = Receiver(telemetry)
    yield telemetry, receiver
    receiver.close()


def test_metrics_of_several_workers_are_added_up(received):
    telemetry, receiver = received
    for _ in range(2):
        exporter = OTLPMetricExporter(endpoint=f"{receiver.endpoint}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], resource=Resource.create())
        # Each provider stands for a process, which has an instance id of its own.
        provider._sdk_config.resource = Resource({"service.instance.id": os.urandom(8).hex()})
        meter = provider.get_meter("test")
        counter, histogram = meter.create_counter("c"), meter.create_histogram("h")
        for turn in range(3):
            counter.add(1, {"turn": turn % 2})
            histogram.record(turn)
            provider.force_flush()
        provider.shutdown()
    assert {point.attributes["turn"]: point.value for point in telemetry.points("c")} == {"0": 4, "1": 2}
    assert telemetry.total("c") == 6
    assert sum(telemetry.histogram("h").counts) == 6
    assert telemetry.histogram("absent") is None


def test_spans_arrive_with_their_attributes(received):
    telemetry, receiver = received
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.endpoint}/v1/traces")))
    with provider.get_tracer("test").start_as_current_span(
        "GET /x", attributes={"a": 1, "b": True, "c": 0.5}
    ):
        pass
    provider.shutdown()
    [span] = telemetry.spans()
    assert span.name == "GET /x"
    assert span.attributes == {"a": "1", "b": "True", "c": "0.5"}


EMPTY = gzip.compress(b"", mtime=0)
"""The same in each process that collects tests."""


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/metrics", {}, b"\xff\xff", 400),
        ("/v1/metrics", {"Content-Encoding": "gzip"}, b"not gzip", 400),
        ("/v1/metrics", {"Content-Encoding": "gzip"}, EMPTY[:-4], 400),
        ("/v1/metrics", {"Content-Length": "999999999999"}, b"", 411),
        ("/v1/elsewhere", {}, b"", 404),
        ("/v1/metrics", {"Content-Encoding": "gzip"}, EMPTY, 200),
    ],
)
def test_what_is_no_otlp_is_refused(received, path, headers, body, status):
    _, receiver = received
    connection = http.client.HTTPConnection(urlsplit(receiver.endpoint).netloc, timeout=5)
    connection.request("POST", path, body, headers)
    assert connection.getresponse().status == status
    connection.close()


def test_a_quantile_is_interpolated_in_its_bucket():
    histogram = Histogram(bounds=(1.0, 2.0, 4.0), counts=(0, 10, 10, 0))
    assert histogram.quantile(0.5) == 2.0
    assert histogram.quantile(0.25) == 1.5
    assert histogram.quantile(0.75) == 3.0
    assert Histogram((1.0,), (0, 5)).quantile(0.5) == 1.0
    assert Histogram((1.0,), (0, 0)).quantile(0.5) is None


def test_reports_of_clients_survive_their_way():
    lines = []
    recorder = Recorder(lambda report: lines.append(report.to_line()), {"abuser": 1})
    for status in (200, 201, 429, 401, 503, 0):
        recorder.count("abuser", "GET /x", status)
    recorder.keep(Refusal("abuser", "127.0.0.9", "GET /x", "429", [("Retry-After", "3"), ("A", "b")], "{}"))
    recorder.tell(2.5, finished=True)
    report = ClientReport.from_line(lines[0])
    [tally] = report.tallies
    assert (tally.answered, tally.limited, tally.refused, tally.failed, tally.broken) == (5, 1, 1, 1, 1)
    assert (report.answered, report.limited, report.broken) == (5, 1, 1)
    assert report.refusal.headers == [("Retry-After", "3"), ("A", "b")]
    assert report.to_line() == lines[0]


def point(tier, outcome, value, **more):
    attributes = {
        names.TIER: tier,
        names.DECISION: outcome,
        names.HTTP_ROUTE: "/x",
        names.HTTP_REQUEST_METHOD: "GET",
    }
    return Point({**attributes, **more}, value)


def seen(*statuses):
    reports = []
    recorder = Recorder(reports.append, {"person": 1})
    for status in statuses:
        recorder.count("person", "GET /x", status)
    recorder.tell(1.0, finished=True)
    return reports[0]


def test_numbers_that_differ_are_said_to_differ():
    agreeing = reconcile(
        [point("reads", "allowed", 2), point("reads", "blocked", 1)], seen(200, 429), probes=1
    )
    assert agreeing.agrees
    assert agreeing.explain() == ""
    behind = reconcile([point("reads", "allowed", 2)], seen(200, 200, 200), probes=0)
    assert not behind.agrees
    assert "1 answers are not in the metrics yet" in behind.explain()
    broken = reconcile([point("reads", "allowed", 2)], seen(200, 0), probes=0)
    assert "got no answer" in broken.explain()
    silent = reconcile([], seen(200), probes=0)
    assert "reported no decision" in silent.explain()
    wrong = reconcile([point("reads", "blocked", 1)], seen(200), probes=0)
    assert "which is a bug" in wrong.explain()


def test_an_outcome_without_telemetry_can_still_be_told():
    outcome = summarise(Telemetry(), seen(200, 0), probes=1, workers=1)
    assert outcome.to_json()["reconciliation"]["agrees"] is False
    assert outcome.span is None
    assert outcome.clients[0].broken == 1


# The specification's requirements for the demo; POST /login stands for "everything else".
SPECIFIED = {
    ("POST", "/api/ai/analyze-jobs"): ["10 per 1 minute", "50 per 1 hour"],
    ("GET", "/api/ai/analysis-results/<int:analysis_id>"): ["10 per 1 minute"],
    ("POST", "/api/ai/batch-analyze"): ["5 per 1 minute", "20 per 1 hour"],
    ("POST", "/api/scrape"): ["5 per 1 hour", "20 per 1 day"],
    ("POST", "/api/intelligent-scrape"): ["5 per 1 hour"],
    ("GET", "/api/documents"): ["20 per 1 minute", "200 per 1 hour"],
    ("POST", "/api/documents/generate"): ["20 per 1 minute", "200 per 1 hour"],
    ("DELETE", "/api/documents/<int:document_id>"): ["20 per 1 minute", "200 per 1 hour"],
    ("POST", "/api/email/send"): ["10 per 1 minute", "100 per 1 hour"],
    ("POST", "/api/jobs"): ["50 per 1 minute", "500 per 1 hour"],
    ("PUT", "/api/jobs/<int:job_id>"): ["50 per 1 minute", "500 per 1 hour"],
    ("DELETE", "/api/jobs/<int:job_id>"): ["50 per 1 minute", "500 per 1 hour"],
    ("POST", "/api/applications"): ["50 per 1 minute", "500 per 1 hour"],
    ("PUT", "/api/applications/<int:application_id>"): ["50 per 1 minute", "500 per 1 hour"],
    ("POST", "/api/workflow"): ["20 per 1 minute"],
    ("POST", "/api/workflow/<int:workflow_id>/advance"): ["20 per 1 minute"],
    ("GET", "/api/jobs"): ["200 per 1 minute"],
    ("GET", "/api/jobs/search"): ["200 per 1 minute"],
    ("GET", "/api/jobs/<int:job_id>"): ["200 per 1 minute"],
    ("GET", "/api/companies/<int:company_id>"): ["200 per 1 minute"],
    ("GET", "/api/applications"): ["200 per 1 minute"],
    ("GET", "/api/dashboard"): ["500 per 1 minute"],
    ("GET", "/api/dashboard/stats"): ["500 per 1 minute"],
    ("GET", "/api/analytics/salaries"): ["100 per 1 minute"],
    ("POST", "/login"): ["100 per 1 minute"],
    ("GET", "/health"): [],
}


def test_the_policy_gives_every_area_its_specified_limits():
    policy = load_policy(POLICY)
    resolver = PolicyResolver(policy, "demo", shadow=False)
    rules = {rule.rule: rule.endpoint for rule in create_app().url_map.iter_rules()}
    for (method, route), limits in SPECIFIED.items():
        plan = resolver.plan(rules[route], method, route)
        assert [window.text for window in plan.windows] == limits, (method, route)
    assert resolver.plan("meta.health", "GET", "/health").exempt


def test_every_rule_of_the_policy_is_used():
    resolver = PolicyResolver(load_policy(POLICY), "demo", shadow=False)
    routes = [
        (rule.endpoint, method, rule.rule)
        for rule in create_app().url_map.iter_rules()
        for method in rule.methods
    ]
    assert resolver.unused_rules(routes) == []
