"""The whole of it on the real programs: application, collector, Prometheus, Alertmanager, PostgreSQL.

One stack for all tests here, with four workers; the rules' times are a tenth of what operators have, or the
tests would take as long as an outage.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from otel_ratelimit.demo.clients import ClientReport
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.stack.alertmanager import held_alerts
from otel_ratelimit.stack.ports import any_ports
from otel_ratelimit.stack.stack import Settings, Stack, silently

HURRY = 10
REQUESTS = "sum(otel_ratelimit_requests_total)"
FIRING_SECONDS = 60
RESOLVED_SECONDS = 120

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with workspace(Path(tmp_path_factory.getbasetemp().parent)) as folder:
        stack = Stack(Settings(any_ports(), workers=4, interval="1s", hurry=HURRY), folder)
        try:
            stack.start(silently)
            yield stack
        finally:
            stack.stop()


def wait_for(condition, seconds, why):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.5)
    return found


def total(stack, expression):
    series = stack.prometheus.query(expression)
    return float(series[0]["value"][1]) if series else 0.0


def alerts(stack):
    return {alert.name for alert in held_alerts(stack.settings.ports.alertmanager)}


@pytest.fixture(scope="module")
def calm(stack):
    """Twenty seconds of visitors, and what they saw; the first of the stack's traffic."""
    before = total(stack, REQUESTS)
    visitors = stack.crowd("visitors", 20)
    assert visitors.wait(60) == 0
    report = ClientReport.from_line(visitors.last_lines(1))
    assert report.finished
    return before, report


def test_prometheus_counts_over_four_workers_what_clients_sent(stack, calm):
    before, report = calm
    assert report.broken == 0
    expected = before + report.answered
    wait_for(
        lambda: total(stack, REQUESTS) >= expected,
        30,
        lambda: f"{total(stack, REQUESTS)} of {expected} requests are in Prometheus",
    )
    assert total(stack, REQUESTS) == expected
    workers = stack.prometheus.query("count(count by (instance) (otel_ratelimit_requests_total))")
    assert workers[0]["value"][1] == "4"


def test_no_alert_fires_in_calm_traffic(stack, calm):
    assert alerts(stack) == set()


def test_abuse_is_an_alert_within_a_minute_and_none_soon_after_it_has_ended(stack, calm):
    abusers = stack.crowd("abusers", 600)
    wait_for(
        lambda: "RateLimitBlockedShareHigh" in alerts(stack),
        FIRING_SECONDS,
        lambda: f"alerts: {alerts(stack)}; {stack.prometheus.alerts()}",
    )
    abusers.stop()
    wait_for(
        lambda: "RateLimitBlockedShareHigh" not in alerts(stack),
        RESOLVED_SECONDS,
        lambda: f"still held: {alerts(stack)}; {stack.prometheus.alerts()}",
    )
