"""An application that knows nothing of us, started by `opentelemetry-instrument gunicorn`."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from variants import quick_first

from otel_ratelimit.core import names

POLICY = """
version = 1
[tiers]
default = "5/minute"
"""
GENEROUS = """
version = 1
[tiers]
default = "100000/minute"
"""


def decisions(telemetry):
    totals = {}
    for point in telemetry.points(names.REQUESTS):
        outcome = point.attributes[names.DECISION]
        totals[outcome] = totals.get(outcome, 0) + point.value
    return totals


@pytest.mark.parametrize("preload", quick_first([["--preload"], []]), ids=["preload", "plain"])
def test_limits_hold_and_every_request_is_a_decision_in_the_backend(serve, telemetry, preload):
    server = serve("--threads", "4", *preload, policy=POLICY)
    statuses = [server.get("/thing")[0] for _ in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    _, headers, body = server.get("/thing")
    assert headers["Content-Type"] == "application/problem+json"
    assert 0 < int(headers["Retry-After"]) <= 60
    assert json.loads(body)["violated-policies"] == ["5-per-minute"]
    health = sum(server.get("/health")[0] == 200 for _ in range(10))
    assert health == 10
    server.stop()
    counted = decisions(telemetry)
    assert counted["allowed"] == 5
    assert counted["blocked"] == 4
    assert counted["exempt"] >= 10
    assert "Traceback" not in server.log


@pytest.mark.parametrize("preload", quick_first([[], ["--preload"]]), ids=["plain", "preload"])
def test_counts_are_exact_over_four_workers(serve, telemetry, preload):
    server = serve("--workers", "4", "--threads", "2", *preload, policy=GENEROUS)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: server.get("/thing")[0], range(400)))
    assert statuses == [200] * 400
    server.stop()
    assert decisions(telemetry)["allowed"] == 400
    assert "4 worker processes each count for themselves" in server.log


def test_spans_carry_the_decision(serve, telemetry):
    server = serve("--threads", "2", policy=POLICY)
    for _ in range(6):
        server.get("/thing")
    server.stop()
    refused = [span for span in telemetry.spans() if span.attributes.get(names.DECISION) == "blocked"]
    assert len(refused) == 1
    assert refused[0].attributes[names.LIMIT] == "5 per 1 minute"
    assert len(refused[0].attributes[names.CLIENT]) == 33


def test_without_a_policy_file_everything_passes_and_it_is_said_once(serve, telemetry):
    server = serve("--threads", "2")
    assert {server.get("/thing")[0] for _ in range(120)} == {200}
    server.stop()
    assert server.log.count("no policy file") == 1
    assert decisions(telemetry)["shadow_blocked"] == 20


def test_a_policy_that_is_not_valid_stops_the_application_with_every_mistake(serve):
    server = serve(
        policy='version = 1\n[tiers]\ndefault = "ten per minuet"\nslow = "0/minute"\n', ready=False
    )
    server.wait_until(lambda: server.process.poll() is not None, "the end of the server")
    assert server.process.returncode != 0
    assert "ratelimit.toml:3" in server.log
    assert "ratelimit.toml:4" in server.log


@pytest.mark.parametrize(
    "environ",
    quick_first(
        [{"OTEL_RATELIMIT_ENABLED": "false"}, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_ratelimit"}]
    ),
)
def test_it_can_be_switched_off(serve, environ):
    server = serve("--threads", "2", policy=POLICY, environ=environ)
    assert {server.get("/thing")[0] for _ in range(20)} == {200}
    assert "RateLimit" not in server.get("/thing")[1]


@pytest.mark.full
def test_a_dead_telemetry_backend_stops_nothing(serve):
    server = serve(
        "--threads", "2", policy=POLICY, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert [server.get("/thing")[0] for _ in range(6)] == [200] * 5 + [429]
    server.kill()  # OpenTelemetry's exporters try for ten seconds before they give up


@pytest.mark.full
def test_limits_hold_with_nothing_set_for_opentelemetry_at_all(serve):
    server = serve(
        "--threads",
        "2",
        policy=POLICY,
        environ=dict.fromkeys(
            (
                "OTEL_SERVICE_NAME",
                "OTEL_LOGS_EXPORTER",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "OTEL_METRIC_EXPORT_INTERVAL",
            )
        ),
    )
    assert [server.get("/thing")[0] for _ in range(6)] == [200] * 5 + [429]
    server.kill()  # as above


def test_a_changed_policy_file_is_in_force_without_a_restart_and_counters_stay(serve, tmp_path):
    server = serve("--threads", "2", policy=POLICY)
    assert [server.get("/thing")[0] for _ in range(6)] == [200] * 5 + [429]
    (tmp_path / "ratelimit.toml").write_text(POLICY.replace("5/minute", "7/minute"))
    server.wait_until(lambda: server.get("/nowhere")[1]["RateLimit-Policy"].startswith('"7-'), "a reload")
    assert [server.get("/thing")[0] for _ in range(3)] == [200, 200, 429]


@pytest.mark.full
def test_a_broken_new_policy_file_is_refused_and_the_old_one_stays(serve, tmp_path):
    server = serve("--threads", "2", policy=POLICY)
    (tmp_path / "ratelimit.toml").write_text("version = 1\n[tiers]\ndefault = 'nonsense'\n")
    server.wait_until(lambda: "ratelimit.toml:3" in server.log, "the refusal")
    assert [server.get("/thing")[0] for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.full
def test_sighup_to_a_worker_reloads(serve, tmp_path, telemetry):
    server = serve("--threads", "2", policy=POLICY)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGHUP)
    server.wait_until(
        lambda: any(p.attributes.get(names.OUTCOME) for p in telemetry.points(names.POLICY_RELOADS)),
        "a reload",
    )
    assert server.get("/health")[0] == 200
    assert server.workers() == [worker]
