"""Files that the stack writes for operators, and its output."""

from __future__ import annotations

import time

import psutil
import pytest
from stack_ports import any_ports

from otel_ratelimit.demo.gunicorn_server import Serving
from otel_ratelimit.demo.stack.alertmanager import HeldAlert
from otel_ratelimit.demo.stack.collector import built_program, configuration_folder
from otel_ratelimit.demo.stack.errors import StackError
from otel_ratelimit.demo.stack.installed_programs import check_programs, find_program
from otel_ratelimit.demo.stack.prometheus import Watching, configured, hurried
from otel_ratelimit.demo.stack.runner import AlertNews
from otel_ratelimit.demo.stack.running_program import ended
from otel_ratelimit.demo.stack.stack import Settings, Stack

CONFIGURATION = """
global:
  scrape_interval: 15s  # often enough
  evaluation_interval: 15s
alerting:
  alertmanagers: [{static_configs: [{targets: ["alertmanager:9093"]}]}]
scrape_configs:
  - job_name: otel-ratelimit
    static_configs: [{targets: ["127.0.0.1:8889"]}]
  - job_name: otel-collector
    static_configs: [{targets: ["collector:8888"]}]
"""


def test_addresses_and_intervals_are_put_into_the_configuration():
    watching = Watching(
        port=1, exporter_port=18889, telemetry_port=18888, alertmanager_port=8889, interval="1s"
    )
    text = configured(CONFIGURATION, watching)
    assert "scrape_interval: 1s  # often enough\n  evaluation_interval: 1s\n" in text
    assert [line.split('"')[1] for line in text.splitlines() if "targets" in line] == [
        "127.0.0.1:8889",
        "127.0.0.1:18889",
        "127.0.0.1:18888",
    ]


@pytest.mark.parametrize(
    ("rule", "hurried_rule"),
    [
        ("rate(a_total[5m]) > 0.1", "rate(a_total[30000ms]) > 0.1"),
        ("increase(a_total[1h] offset 1d)", "increase(a_total[360000ms] offset 8640000ms)"),
        ("for: 2m", "for: 12000ms"),
        ("job:requests:rate5m > 14.4", "job:requests:rate5m > 14.4"),
        ("for: 15s", "for: 1500ms"),
        ("labels: {subject: refusals, window: 1h}", "labels: {subject: refusals, window: 1h}"),
    ],
)
def test_a_hurried_rule_has_shorter_times_and_nothing_else_changed(rule, hurried_rule):
    assert hurried(rule, 10) == hurried_rule


def test_rules_that_are_not_hurried_stay_as_they_are():
    assert hurried("for: 2m", 1) == "for: 2m"


def test_no_two_ports_are_alike():
    ports = any_ports()
    chosen = [getattr(ports, name) for name in ports.__slots__]
    assert len(set(chosen)) == len(chosen)


def test_programs_that_are_not_installed_are_named_together(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"^prometheus is not installed\n.*apt-get install prometheus$"):
        find_program("prometheus")
    both = r"^prometheus and prometheus-alertmanager are .*\n.*install prometheus prometheus-alertmanager$"
    with pytest.raises(StackError, match=both):
        check_programs()


def test_an_alertmanager_from_elsewhere_has_another_name(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("prometheus", "alertmanager"):
        (tmp_path / name).touch(mode=0o755)
    check_programs()
    assert find_program("prometheus-alertmanager") == str(tmp_path / "alertmanager")


@pytest.mark.parametrize(
    ("status", "said"),
    [(1, "ended with status 1"), (137, "was ended by SIGKILL"), (255, "ended with status 255")],
)
def test_how_a_program_ended_is_said_in_words(status, said):
    assert ended(status) == said


def test_a_collector_that_was_not_built_is_asked_for(tmp_path):
    with pytest.raises(StackError, match=r"has not been built[\s\S]*make collector"):
        built_program({"XDG_CACHE_HOME": str(tmp_path)}, configuration_folder())


@pytest.fixture
def crowded(tmp_path, monkeypatch):
    """`crowded("visitors")`: a stack of nothing but clients, who come for a moment."""
    stack = Stack(Settings(any_ports()), tmp_path)
    serving = Serving(
        port=stack.settings.ports.application,
        workers=1,
        database_url="",
        otlp_endpoint="",
        scratch=tmp_path,
        api_token="",
    )
    monkeypatch.setattr(stack, "_serving", serving)
    yield lambda who: (stack, stack.crowd(who, 0.1))
    stack.stop()


def test_clients_that_have_left_are_no_fault_and_no_zombies(crowded):
    others = set(psutil.Process().children())
    stack, _ = crowded("visitors")
    [clients] = set(psutil.Process().children()) - others
    deadline = time.monotonic() + 60
    # A zombie is there as well, and can be reaped only when the last of its threads has gone.
    while psutil.pid_exists(clients.pid):
        assert time.monotonic() < deadline, clients.status()
        time.sleep(0.02)
        stack.check()


def test_clients_that_fail_are_reported(crowded):
    stack, clients = crowded("nobody")
    assert clients.wait(60)
    with pytest.raises(StackError, match="the clients ended too early"):
        stack.check()


def held(name, state="active"):
    return HeldAlert(name, "warning", f"{name} is so.", {"alertname": name}, state)


def test_an_alert_is_told_once_when_it_fires_and_once_when_it_is_resolved():
    news = AlertNews()
    assert news.since([held("A")]) == ["FIRING    A (warning): A is so."]
    assert news.since([held("A"), held("B", "suppressed")]) == [
        "FIRING    B (warning, muted by another alert): B is so."
    ]
    assert news.since([held("B")]) == ["resolved  A (warning): A is so."]
    assert news.since([held("B")]) == []
