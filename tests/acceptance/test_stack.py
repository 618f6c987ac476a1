"""The whole of it on the real programs: application, collector, Prometheus, Alertmanager, PostgreSQL.

One stack for all tests here, with four workers; the rules' times are a tenth of what operators have, or the
tests would take as long as an outage.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import promql_parser as promql
import pytest
import yaml
from components import wheel_postgres
from promql_facts import selectors
from stack_ports import any_ports

from otel_ratelimit.demo.client_reports import ClientReport
from otel_ratelimit.demo.gunicorn_server import POLICY, clean_environment
from otel_ratelimit.demo.stack.alertmanager import held_alerts
from otel_ratelimit.demo.stack.collector import configuration_folder
from otel_ratelimit.demo.stack.stack import Settings, Stack, silently
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.postgres import Database

HURRY = 10
REQUESTS = "sum(otel_ratelimit_requests_total)"
FIRING_SECONDS = 60
RESOLVED_SECONDS = 120
PANELS_SECONDS = 60
ONLY_IN_TROUBLE = {
    f"otelcol_exporter_{what}_failed_{signal}"
    for what in ("send", "enqueue")
    for signal in ("spans", "metric_points")
}
"""Series of the collector that exist from the first failure on; test_collector_losses.py causes failures."""
RULES = sorted((configuration_folder() / "prometheus" / "rules").glob("*.yml"))

A_DAY_AGO = [
    f"UPDATE otel_ratelimit.{table} SET {column} = {column} - interval '1 day'"
    for table, column in (("query_logs", "ts"), ("query_totals", "minute"), ("table_writes", "minute"))
]
SLOW = "UPDATE otel_ratelimit.query_logs SET duration_us = greatest(duration_us, 20000)"
"""Settings as for a large database: a cache is worth it, however few clients came."""

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(collector_program, installed):
    wheel_postgres()
    installed("prometheus", "prometheus")
    installed("prometheus-alertmanager", "prometheus-alertmanager")
    with workspace(Path(tempfile.gettempdir())) as folder:
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
    visitors = stack.crowd("visitors", 20)
    assert visitors.wait(60) == 0
    report = ClientReport.from_line(visitors.last_lines(1))
    assert report.finished
    return report


TROUBLED_POLICY = """
version = 1
[tiers]
default = "100/minute"
[[routes]]
match = "/keyed"
limits = "100/minute"
key = "header:X-Api-Key"
"""
TROUBLED = """
import flask
app = flask.Flask("shop")
app.add_url_rule("/keyed", "keyed", lambda: "ok")
client = app.test_client()
assert [client.get("/keyed").status_code for _ in range(3)] == [503] * 3
"""


@pytest.fixture(scope="module")
def troubled(stack, tmp_path_factory):
    """A second service, whose store is away and whose clients do not say who they are: rare metrics."""
    folder = tmp_path_factory.mktemp("troubled")
    (folder / "ratelimit.toml").write_text(TROUBLED_POLICY)
    (folder / "shop.py").write_text(TROUBLED)
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        uri = f"redis://127.0.0.1:{nobody_listens.getsockname()[1]}"
        run_instrumented(stack, folder, sys.executable, "shop.py", OTEL_RATELIMIT_STORAGE_URI=uri)


EXPONENTIAL = """
import flask
app = flask.Flask("bakery")
app.add_url_rule("/", "index", lambda: "ok")
client = app.test_client()
assert [client.get("/").status_code for _ in range(101)] == [200] * 100 + [429]
"""
EXPONENTIAL_POLICY = 'version = 1\n[tiers]\ndefault = "100/hour"\n'


@pytest.fixture(scope="module")
def exponential(stack, tmp_path_factory):
    """A third service, whose operator prefers exponential histograms."""
    folder = tmp_path_factory.mktemp("exponential")
    (folder / "ratelimit.toml").write_text(EXPONENTIAL_POLICY)
    (folder / "bakery.py").write_text(EXPONENTIAL)
    variables = {
        "OTEL_SERVICE_NAME": "bakery",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
    }
    run_instrumented(stack, folder, sys.executable, "bakery.py", **variables)


@pytest.fixture(scope="module")
def reported(stack, calm, tmp_path_factory):
    """The report of yesterday, as which the queries of this run are passed off."""
    with closing(Database(stack.database_url)) as database:
        wait_for(
            lambda: database.rows("SELECT count(*) FROM otel_ratelimit.query_logs")[0][0] > 100,
            30,
            lambda: "no queries are recorded",
        )
        with database.session() as session, session.transaction(30.0) as transaction:
            for statement in (*A_DAY_AGO, SLOW):
                transaction.run(statement)
    run_instrumented(
        stack,
        tmp_path_factory.mktemp("reported"),
        *("otel-ratelimit", "report", "run", "--policy", str(POLICY)),
        OTEL_RATELIMIT_DATABASE_URL=stack.database_url,
    )


def run_instrumented(stack, folder, *command, **variables):
    done = subprocess.run(
        ["opentelemetry-instrument", *command],
        check=False,
        cwd=folder,
        env={
            **clean_environment(os.environ),
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{stack.settings.ports.otlp}",
            "OTEL_LOGS_EXPORTER": "none",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_counts_over_four_workers_what_clients_sent(stack, calm):
    assert calm.broken == 0
    expected = stack.probes + calm.answered
    wait_for(
        lambda: total(stack, REQUESTS) >= expected,
        30,
        lambda: f"{total(stack, REQUESTS)} of {expected} requests are in Prometheus",
    )
    assert total(stack, REQUESTS) == expected
    # All four report, though chance may give one of them no connection of these few clients.
    assert total(stack, "count(count by (instance) (otel_ratelimit_policy_info_ratio))") == 4
    assert total(stack, "count(count by (instance) (otel_ratelimit_requests_total))") > 1


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


def test_alerts_and_panels_have_their_buckets_where_exponential_histograms_are_preferred(stack, exponential):
    mine = '{job="bakery"}'
    wait_for(
        lambda: total(stack, f"sum(otel_ratelimit_requests_total{mine})") == 101,
        30,
        lambda: f"{total(stack, f'sum(otel_ratelimit_requests_total{mine})')} of 101 requests",
    )
    near = 'sum(otel_ratelimit_utilization_bucket{job="bakery",le="0.8"})'
    assert total(stack, near) == 80
    assert total(stack, f"sum(otel_ratelimit_utilization_count{mine})") == 101
    quantile = f"histogram_quantile(0.99, sum by (le) (otel_ratelimit_check_duration_seconds_bucket{mine}))"
    assert 0.0 < total(stack, quantile) < 1.0
    # Flask's own histogram is as the operator wants it, and shows what ours would be.
    found = stack.prometheus.query('{__name__=~"http_server_.*_bucket",job="bakery"}')
    assert {series["metric"]["le"] for series in found} == {"+Inf"}


@pytest.fixture(scope="module")
def eventful(calm, troubled, reported, stack):
    """All that happens but rarely has happened once; and there is traffic."""
    return stack.crowd("everyone", 120)


def empty(stack, dashboard_queries):
    """The panels that have no data now."""
    now = datetime.now(UTC)
    shown = dashboard_queries.Shown(now - timedelta(minutes=5), now, rate_interval=30)
    week = dashboard_queries.Shown(now - timedelta(days=7), now)
    has_data = {}
    with closing(Database(stack.database_url)) as database:
        for query in dashboard_queries.panel_queries():
            panel = (query.file, query.panel)
            if query.plugin == dashboard_queries.PROMETHEUS:
                found = stack.prometheus.query(shown.of(query))
            else:
                found = database.rows(week.of(query))
            has_data[panel] = has_data.get(panel, False) or bool(found)
    return {panel for panel, has in has_data.items() if not has}


def test_every_panel_has_data_within_a_minute_of_traffic(stack, eventful, dashboard_queries):
    wait_for(
        lambda: not empty(stack, dashboard_queries),
        PANELS_SECONDS,
        lambda: f"no data: {sorted(empty(stack, dashboard_queries))}",
    )


def test_every_metric_that_a_panel_or_a_rule_names_is_there(stack, eventful, dashboard_queries):
    now = datetime.now(UTC)
    asked = [
        dashboard_queries.Shown(now - timedelta(hours=1), now).of(query)
        for query in dashboard_queries.panel_queries(dashboard_queries.PROMETHEUS)
    ]
    rules = [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    expressions = (*asked, *(rule["expr"] for rule in rules))
    named = {selector.name for text in expressions for selector in selectors(promql.parse(text))}
    named -= {rule["record"] for rule in rules if "record" in rule}
    wait_for(
        lambda: named - stack.prometheus.metric_names() <= ONLY_IN_TROUBLE,
        30,
        lambda: f"not there: {sorted(named - stack.prometheus.metric_names())}",
    )
