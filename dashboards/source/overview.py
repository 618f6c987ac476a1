"""The overview: is anyone hurt, is the limiter healthy."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from dashboards.source import links, promql, tables, traffic
from dashboards.source.asked import Prom, Sql, at_end, by_quantile
from dashboards.source.asked import table as as_table
from dashboards.source.foreign import ALERTS, SPAN_CALLS, SPAN_SECONDS, TARGET_INFO
from dashboards.source.layout import Row, line, row
from dashboards.source.panels import (
    GREEN,
    NEUTRAL,
    ORANGE,
    RED,
    SOME,
    course,
    figure,
    mapped,
    steps,
    words,
)
from otel_ratelimit.core import names, thresholds
from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.storage.client_options import STORAGE_TIMEOUT_SECONDS

UID: Final = links.OVERVIEW
DESCRIPTION: Final = "Is anyone hurt by the rate limits, and is the limiter itself healthy?"
TIME: Final = "now-3h"

ALERT_NAMES: Final = "RateLimit.+"
"""A pattern of the names of our alerts."""
_FAILED: Final = promql.equals(names.DECISION, DecisionKind.ERROR)


def rows() -> list[Row]:
    """Rows from the effects on users down to those on operators."""
    return [
        row(
            "Is anyone hurt?",
            line(
                4,
                (4, _requests()),
                (4, _refused_share()),
                (4, _clients_refused()),
                (4, _longest_refusal()),
                (4, _failed_closed()),
                (4, _failed_open()),
            ),
            line(9, (12, traffic.decisions()), (12, traffic.refused_by_route())),
        ),
        row(
            "Is the limiter healthy?",
            line(
                8,
                (8, _firing()),
                (4, (_memory(), _overflows())),
                (4, (_check_duration(), _lost())),
                (4, (_queue(), _report_age())),
                (4, (_policy(), _silence())),
            ),
        ),
        row("As clients see it", line(8, (8, _answers()), (8, _latency()), (8, _server_errors()))),
    ]


def _requests() -> stat.Panel:
    return figure(
        "Requests",
        "All requests. If this falls to zero although clients are there, look at the application first.",
        Prom(promql.rate(traffic.REQUESTS)),
        unit="reqps",
        colors=steps(base=NEUTRAL),
        empty="no requests",
    )


def _refused_share() -> stat.Panel:
    return figure(
        "Refused",
        "Share of the requests that got a 429; exempt ones do not count. Above a few percent a limit is too"
        " low or somebody is abusing it: Endpoints and limits shows which.",
        Prom(promql.share(promql.rate(traffic.BLOCKED), promql.rate(traffic.LIMITED))),
        unit="percentunit",
        decimals=1,
        colors=steps((thresholds.BLOCKED_SHARE_BUDGET, ORANGE), (5 * thresholds.BLOCKED_SHARE_BUDGET, RED)),
        empty="no requests",
    )


def _clients_refused() -> stat.Panel:
    return figure(
        "Clients refused",
        "Number of different clients that were refused in the time shown, as recorded in the database. If"
        " there are many, the limit is too low. If there are one or two, talk to them.",
        Sql("overview", "clients_refused"),
        unit="locale",
        decimals=0,
        colors=steps((1, ORANGE)),
        empty="none",
    )


def _longest_refusal() -> stat.Panel:
    return figure(
        "Longest refusal",
        "For how long one client has been refused without a pause of a minute. Half an hour means that it"
        " ignores Retry-After, or that its limit is too low for its purpose.",
        Prom(f"max({promql.ours(names.CLIENT_LIMITED)})"),
        unit="s",
        decimals=0,
        colors=steps(
            (thresholds.CLIENT_LIMITED_SECONDS / 3, ORANGE),
            (thresholds.CLIENT_LIMITED_SECONDS, RED),
        ),
    )


def _failed_closed() -> stat.Panel:
    selector = promql.ours(names.REQUESTS, _FAILED, promql.equals(names.ON_ERROR, "closed"))
    return figure(
        "Failing closed",
        "Requests answered with 503 because the counter store failed. Even one hurts a user: look at the"
        " store, and at the errors by type in Plugin health.",
        # There is no such series before the first failure.
        at_end(f"{promql.happened(selector)} or vector(0)"),
        unit="locale",
        decimals=0,
        colors=steps((SOME, RED)),
    )


def _failed_open() -> stat.Panel:
    selector = promql.ours(names.REQUESTS, _FAILED, promql.equals(names.ON_ERROR, "open"))
    return figure(
        "Failing open",
        "Requests let through uncounted because the counter store failed: nobody is hurt, and nobody is"
        " limited. Look at the store.",
        # There is no such series before the first failure.
        at_end(f"{promql.happened(selector)} or vector(0)"),
        unit="locale",
        decimals=0,
        colors=steps((SOME, ORANGE)),
    )


def _firing() -> table.Panel:
    panel = tables.rows(
        "Firing alerts",
        "Alerts of all services; each has a runbook of its name. An empty table is good news only if"
        " Prometheus loads the rules: see Status, Rules there.",
        as_table(
            f"sum by (alertname, severity, job) ({promql.foreign(ALERTS)}"
            f'{{{promql.OF_ENVIRONMENT},alertstate="firing",alertname=~"{ALERT_NAMES}"}})'
        ),
        [
            tables.Column("Alert"),
            tables.Column(
                "Severity",
                width=100,
                mapping=mapped(
                    {"critical": ("critical", RED), "warning": ("warning", ORANGE), "info": ("info", "blue")}
                ),
            ),
            tables.Column("Service", width=140),
        ],
        empty="nothing fires",
    )
    return tables.organized(
        panel, {"alertname": "Alert", "severity": "Severity", "job": "Service"}, without=["Value"]
    )


def _memory() -> stat.Panel:
    critical = promql.ours(names.STORAGE_THRESHOLD, promql.equals(names.LEVEL, "critical"))
    warning = thresholds.MEMORY_WARNING_BYTES / thresholds.MEMORY_CRITICAL_BYTES
    return figure(
        "Counters' memory",
        "For the fullest process: size as a share of the critical size. When it is full no counter is lost,"
        " but new clients share one: raise [memory] capacity, or find out who sends so many keys.",
        Prom(f"max({promql.ours(names.STORAGE_SIZE)} / ignoring(otel_ratelimit_level) {critical})"),
        unit="percentunit",
        decimals=0,
        colors=steps((warning, ORANGE), (1, RED)),
        empty="remote store",
    )


def _overflows() -> stat.Panel:
    return figure(
        "Overflow hits",
        "Requests counted in a bucket that clients of one network share, because the store was full or"
        " their network held its share: innocent clients may be refused. If there are any, see the memory in"
        " Plugin health.",
        at_end(promql.increase(promql.ours(names.STORAGE_OVERFLOWS))),
        unit="locale",
        decimals=0,
        colors=steps((SOME, RED)),
    )


def _check_duration() -> stat.Panel:
    return figure(
        "Check, 99 %",
        "Time that the check adds to a request, at most, for 99 of 100. Above some milliseconds a remote"
        " store or its network is slow.",
        Prom(promql.quantile(0.99, promql.buckets(names.CHECK_DURATION))),
        unit="s",
        decimals=1,
        colors=steps((thresholds.CHECK_SLOW_SECONDS, ORANGE), (STORAGE_TIMEOUT_SECONDS, RED)),
        empty="no requests",
    )


def _lost() -> stat.Panel:
    dropped = promql.ours(names.QUERIES, promql.equals(names.OUTCOME, "dropped"))
    return figure(
        "Records lost",
        "Violations and queries that could not be written to the database. Nobody is hurt, but analyses"
        " lack them: see queues and errors in Plugin health.",
        at_end(
            f"{promql.increase(promql.ours(names.VIOLATIONS_DROPPED))}"
            f" + ({promql.increase(dropped)} or vector(0))"
        ),
        unit="locale",
        decimals=0,
        colors=steps((SOME, ORANGE)),
        empty="not recording",
    )


def _queue() -> stat.Panel:
    length, capacity = promql.ours(names.QUEUE_LENGTH), promql.ours(names.QUEUE_CAPACITY)
    return figure(
        "Queue",
        "How full the fuller queue to the database is, in the worst process. When it is full, new rows are"
        " lost: the database is away or too slow.",
        Prom(f"max({length} / {capacity})"),
        unit="percentunit",
        decimals=0,
        colors=steps((thresholds.QUEUE_NEARLY_FULL / 2, ORANGE), (thresholds.QUEUE_NEARLY_FULL, RED)),
        empty="not recording",
    )


def _report_age() -> stat.Panel:
    made = f"{promql.report(names.REPORT_LAST_SUCCESS)}[2d]"
    return figure(
        "Last report",
        "How long ago the nightly cache report was made. Older than a day and two hours: it was missed; run"
        " otel-ratelimit report run and read its output.",
        at_end(f"time() - max(last_over_time({made}))"),
        unit="s",
        decimals=1,
        colors=steps((thresholds.REPORT_OVERDUE_SECONDS, RED)),
        empty="none in 2 days",
    )


def _policy() -> stat.Panel:
    in_force = promql.ours(names.POLICY_INFO)
    return words(
        "Policy in force",
        "The hash of the policy in force. There are several during a reload. If that lasts, a process"
        " refused the new policy, or was not restarted.",
        at_end(f"count {promql.by(names.POLICY_HASH)} ({in_force} == 1)", "{{otel_ratelimit_policy_hash}}"),
    )


def _silence() -> stat.Panel:
    seen = f"{promql.foreign(TARGET_INFO)}{{{promql.OF_PROCESSES}}}"
    return figure(
        "Silent for",
        "For the service that has been silent longest: time since any of its processes reported, within the"
        " last hour. Above some minutes it is down, or its telemetry does not arrive: see the collector in"
        " Plugin health.",
        at_end(f"max(time() - max by (job) (max_over_time(timestamp({seen})[1h:30s])))"),
        unit="s",
        decimals=0,
        colors=steps(
            (thresholds.TELEMETRY_SILENT_SECONDS / 2, ORANGE), (thresholds.TELEMETRY_SILENT_SECONDS, RED)
        ),
        empty="never heard of",
    )


def _answers() -> timeseries.Panel:
    return course(
        "Answers by status",
        "From the spans of served requests. 429 is a refusal; 503 may be the limiter failing closed; other"
        " 5xx are the application's own.",
        Prom(
            promql.rate(promql.spans(SPAN_CALLS), "http_response_status_code"),
            "{{http_response_status_code}}",
        ),
        unit="reqps",
        stacked=True,
        colors={"200": GREEN, "429": ORANGE, "500": RED, "503": "dark-red"},
        empty="no spans",
    )


def _latency() -> timeseries.Panel:
    bucket = promql.spans(f"{SPAN_SECONDS}_bucket")
    return course(
        "Latency",
        "How long answers take, refusals included. A dot leads to a trace: a dot far above the lines shows"
        " what was slow.",
        *by_quantile(lambda quantile: promql.quantile(quantile, bucket), exemplars=True),
        unit="s",
        empty="no spans",
    )


def _server_errors() -> timeseries.Panel:
    failed = promql.spans(SPAN_CALLS, 'http_response_status_code=~"5.."')
    return course(
        "Server errors",
        "Share of the answers that are 5xx. Above the line, look at the traces of failed requests; if they"
        " are 503, look at Failing closed above.",
        Prom(promql.share(promql.rate(failed), promql.rate(promql.spans(SPAN_CALLS))), "5xx"),
        unit="percentunit",
        colors={"5xx": RED},
        lines_at=steps((thresholds.SERVER_ERROR_SHARE_HIGH, RED), base="transparent"),
        empty="no spans",
    )
