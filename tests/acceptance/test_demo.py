"""`otel-ratelimit demo` as users run it, and what it says when something is in the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from components import wheel_postgres
from processes import runs

from otel_ratelimit.demo import command

OTEL_RATELIMIT = str(Path(sys.executable).with_name("otel-ratelimit"))
SECONDS = (6, 20, 60)
"""For how long clients come: for longer where the machine is too busy for ENOUGH_REQUESTS."""
ENOUGH_REQUESTS = 300

pytestmark = [pytest.mark.full, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def temporary():
    # Not pytest's own, which as root no other user may enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield folder


@pytest.fixture(scope="module")
def finished(temporary):
    wheel_postgres()
    for seconds in SECONDS:
        done = subprocess.run(
            [OTEL_RATELIMIT, "demo", "--once", "--json", "--duration", str(seconds), "--port", "0"],
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "TMPDIR": temporary},
        )
        if done.returncode or json.loads(done.stdout)["reconciliation"]["answered"] > ENOUGH_REQUESTS:
            break
    return done


@pytest.fixture
def outcome(finished):
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def of(outcome, persona):
    [found] = [client for client in outcome["clients"] if client["persona"] == persona]
    return found


def test_every_answer_is_one_decision_in_the_metrics(outcome):
    numbers = outcome["reconciliation"]
    assert numbers["broken"] == 0
    assert numbers["answered"] == numbers["decisions"] > 100
    assert numbers["limited"] == numbers["blocked"] > 0
    assert numbers["agrees"]
    assert numbers["explanation"] == ""
    counted = sum(tier["allowed"] + tier["blocked"] + tier["exempt"] for tier in outcome["tiers"])
    assert counted == numbers["decisions"]
    assert sum(limit["blocked"] for limit in outcome["limits"]) == numbers["blocked"]


def test_the_scraper_gets_five_pages_an_hour(outcome):
    [scraping] = [tier for tier in outcome["tiers"] if tier["tier"] == "scraping"]
    assert scraping["allowed"] == 5
    assert scraping["blocked"] > 0
    assert "POST /api/scrape" in {tally["endpoint"] for tally in of(outcome, "scraper")["endpoints"]}


def test_the_abuser_gains_nothing_by_forging_addresses(outcome):
    [analyses] = [
        t for t in of(outcome, "abuser")["endpoints"] if t["endpoint"] == "POST /api/ai/analyze-jobs"
    ]
    assert analyses["answered"] - analyses["limited"] <= 10


def test_people_are_hardly_limited(outcome):
    people = of(outcome, "person")
    assert people["clients"] == 8
    assert people["limited"] <= people["answered"] * 0.05


def test_health_checks_are_never_limited(outcome):
    probe = of(outcome, "health probe")
    assert probe["answered"] > 10
    assert probe["limited"] == 0
    [exempt] = [tier for tier in outcome["tiers"] if tier["exempt"]]
    assert exempt["exempt"] >= probe["answered"]
    assert exempt["blocked"] == 0


def test_nothing_failed_under_the_traffic(outcome):
    assert [client["failed"] for client in outcome["clients"]] == [0, 0, 0, 0]


def test_what_was_recorded_in_postgresql_is_what_happened(outcome):
    stored = outcome["stored"]
    assert stored["violations"] == outcome["reconciliation"]["blocked"]
    assert 0 < stored["rows"] < stored["violations"] / 2
    assert sum(client["violations"] for client in stored["clients"]) == stored["violations"]
    assert 0 < stored["hit_rate"] < 1
    [scraping] = [r for r in stored["rooms"] if r["endpoint"] == "/api/scrape" and "hour" in r["limit"]]
    assert (scraping["requests"] - scraping["refused"], scraping["p95"]) == (5, 1.0)
    assert {"/api/jobs/<int:job_id>", "/api/jobs/search"} & {r["endpoint"] for r in stored["recommended"]}
    queries = outcome["queries"]
    assert queries["executions"] > 300
    assert queries["templates"] > 15
    assert queries["dropped"] == 0
    assert all(0 < found["repeats"] < found["executions"] for found in queries["in_time"])
    assert "/api/dashboard" in {pattern["endpoint"] for pattern in queries["in_requests"]}
    cache = outcome["cache"]
    # All of its minutes are counted, those of the seed and of starting included.
    assert cache["analysis"]["all_executions"] == queries["executions"]
    assert 0 < cache["analysis"]["duplicates"] < cache["analysis"]["executions"]
    assert cache["cost"]["reason"]


def test_the_refusal_is_told_in_full(outcome):
    headers = dict(outcome["refusal"]["headers"])
    assert outcome["refusal"]["status"].startswith("429")
    assert int(headers["Retry-After"]) > 0
    assert headers["Content-Type"] == "application/problem+json"
    assert json.loads(outcome["refusal"]["body"])["status"] == 429


def test_memory_overhead_and_a_span_are_reported(outcome):
    assert 0 < outcome["memory"]["size_bytes"] < outcome["memory"]["capacity_bytes"]
    assert outcome["memory"]["keys"] > 10
    assert 0 < outcome["overhead"]["check_p50"] <= outcome["overhead"]["check_p99"]
    assert outcome["span"]["attributes"]["otel_ratelimit.decision"] == "blocked"


def test_progress_does_not_spoil_the_json(finished, outcome):
    assert "PostgreSQL" in finished.stderr
    assert finished.stdout.lstrip().startswith("{")


def test_nothing_is_left_behind(finished, temporary):
    assert finished.returncode == 0, finished.stderr
    assert list(Path(temporary).iterdir()) == []


def test_a_taken_port_is_said_at_once_with_what_to_do():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = CliRunner().invoke(command.demo, ["--port", str(port), "--once"])
    assert result.exit_code == 2
    assert f"port {port} cannot be used: process {os.getpid()}" in result.stderr
    assert "--port" in result.stderr


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(command._NEEDED, "no_such_module", "no-such-package")
    result = CliRunner().invoke(command.demo, ["--once"])
    assert result.exit_code == 2
    assert "no-such-package" in result.stderr
    assert 'pip install "otel-ratelimit[demo]"' in result.stderr


def test_a_demo_that_is_stopped_takes_everything_with_it(temporary):
    demo = subprocess.Popen(
        [OTEL_RATELIMIT, "demo", "--port", "0", "--duration", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": temporary},
    )
    for line in demo.stdout:
        if line.startswith("Application"):
            break
    children = psutil.Process(demo.pid).children(recursive=True)
    assert {"postgres", "gunicorn"} <= {child.name() for child in children}
    demo.send_signal(signal.SIGTERM)
    rest = demo.stdout.read()
    assert demo.wait(30) == 130, rest
    deadline = time.monotonic() + 10
    while any(runs(child.pid) for child in children):
        assert time.monotonic() < deadline, children
        time.sleep(0.05)
    assert list(Path(temporary).iterdir()) == []
