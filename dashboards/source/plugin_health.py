"""The plugin's health: memory, store, rows for the database, policy."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import gauge, table, timeseries

from dashboards.source import collector, links, promql, tables
from dashboards.source.asked import Prom, Sql, by_quantile
from dashboards.source.asked import table as as_table
from dashboards.source.cache_advisor import queries_by_outcome
from dashboards.source.instruments import label
from dashboards.source.layout import Row, line, row
from dashboards.source.panels import GREEN, ORANGE, RED, course, dashed, dial, fixed, steps
from otel_ratelimit.core import names, thresholds
from otel_ratelimit.core.decision import DecisionKind

UID: Final = links.HEALTH
DESCRIPTION: Final = "Memory, counter store, queues to the database, policy, and the collector behind them."
TIME: Final = "now-3h"

_FILE: Final = "plugin_health"


def rows() -> list[Row]:
    """Rows from problems that stop requests down to those that stop figures."""
    return [
        row(
            "Memory of the counters",
            line(9, (6, _memory()), (10, _size()), (8, _keys())),
            line(7, (6, _removed()), (6, _freed()), (6, _cleanup_duration()), (6, _overflows())),
        ),
        row("Checks", line(8, (8, _check_duration()), (8, _store_errors()), (8, _failed_requests()))),
        row(
            "To the database",
            line(8, (8, _queues()), (8, _violations()), (8, queries_by_outcome())),
            line(9, (8, _capture_duration()), (16, _table_sizes())),
        ),
        row(
            "Policy and report",
            line(8, (8, _policies()), (8, _reloads()), (8, _fallbacks())),
            line(9, (14, _last_reports()), (10, _written_last())),
        ),
        *collector.rows(),
    ]


def _happened(selector: str, *attributes: str) -> str:
    """How often a rare event happened between two points of a graph."""
    return promql.happened(selector, *attributes, window="$__rate_interval")


def _memory() -> gauge.Panel:
    warning, critical = thresholds.MEMORY_WARNING_BYTES, thresholds.MEMORY_CRITICAL_BYTES
    return dial(
        "Memory",
        "Memory of the fullest process; yellow and red are the defaults of 40 and 50 MB, and the panel to"
        " the right has the thresholds of your policy. In red, clients of a network share a counter: raise"
        " [memory] capacity, or find out who sends so many keys.",
        Prom(f"max({promql.ours(names.STORAGE_SIZE)})"),
        unit="decbytes",
        colors=steps((warning, ORANGE), (critical, RED)),
        most=critical * 1.2,
    )


def _size() -> timeseries.Panel:
    def threshold(level: str) -> str:
        return f"min({promql.ours(names.STORAGE_THRESHOLD, promql.equals(names.LEVEL, level))})"

    panel = course(
        "Size against capacity",
        "Each process, against the policy's warning and critical sizes. A process that grows while the"
        " others do not gets another kind of traffic.",
        Prom(promql.ours(names.STORAGE_SIZE), "{{instance}}"),
        Prom(threshold("warning"), "warning"),
        Prom(threshold("critical"), "critical"),
        Prom(f"min({promql.ours(names.STORAGE_CAPACITY)})", "capacity"),
        unit="decbytes",
        legend="table below",
        empty="remote store",
    )
    for name, color in (("warning", ORANGE), ("critical", RED), ("capacity", "dark-red")):
        panel.override_by_name(name, [fixed(color), dashed()])
    return panel


def _keys() -> timeseries.Panel:
    return course(
        "Counters held",
        "By process: one counter for each client and limit whose window is open. Far more than you have"
        " clients means that somebody sends a new identity with each request.",
        Prom(promql.ours(names.STORAGE_KEYS), "{{instance}}"),
        unit="short",
        legend="table below",
        empty="remote store",
    )


def _removed() -> timeseries.Panel:
    return course(
        "Counters removed",
        "Counters removed by the cleanup, all processes together. If it is zero while counters grow, the"
        " cleanup does not run; restart, and report it.",
        Prom(promql.rate(promql.ours(names.CLEANUP_REMOVED_KEYS)), "removed"),
        unit="ops",
        empty="remote store",
    )


def _freed() -> timeseries.Panel:
    return course(
        "Memory given back",
        "Memory freed by the cleanup. It follows the counters removed; new clients can use the freed memory.",
        Prom(promql.rate(promql.ours(names.CLEANUP_FREED)), "freed"),
        unit="Bps",
        empty="remote store",
    )


def _cleanup_duration() -> timeseries.Panel:
    return course(
        "Cleanup, 99 %",
        "How long a cleanup takes, its pauses for requests included. It never makes a request wait for more"
        " than a millisecond; seconds mean that it gets little CPU time.",
        Prom(promql.quantile(0.99, promql.buckets(names.CLEANUP_DURATION)), "99 %"),
        unit="s",
        empty="remote store",
    )


def _overflows() -> timeseries.Panel:
    return course(
        "Overflow hits",
        "Requests counted in a bucket that clients of one network share, because the store was full or"
        " their network held its share. If there are any, raise the capacity now and find the reason"
        " afterwards.",
        Prom(promql.rate(promql.ours(names.STORAGE_OVERFLOWS)), "overflow"),
        unit="reqps",
        colors={"overflow": RED},
    )


def _check_duration() -> timeseries.Panel:
    bucket = promql.buckets(names.CHECK_DURATION)
    return course(
        "Check duration",
        "Time of the store's answer and the decision. It is microseconds in the process, and a round trip"
        " with a remote store. Above the line look at the store and its network; a dot leads to a trace.",
        *by_quantile(lambda quantile: promql.quantile(quantile, bucket), exemplars=True),
        unit="s",
        lines_at=steps((thresholds.CHECK_SLOW_SECONDS, RED), base="transparent"),
        empty="no requests",
    )


def _store_errors() -> timeseries.Panel:
    by_type = _happened(promql.ours(names.STORAGE_ERRORS), names.STORAGE, names.ERROR_TYPE)
    return course(
        "Store errors",
        "By type, from one point to the next. timeout means a slow store or network, connection one that is"
        " away. After an error the store pauses for a second, so there are fewer errors than failed"
        " requests.",
        Prom(by_type, "{{error_type}} ({{otel_ratelimit_storage}})"),
        unit="locale",
        empty="none",
    )


def _failed_requests() -> timeseries.Panel:
    failed = promql.ours(names.REQUESTS, promql.equals(names.DECISION, DecisionKind.ERROR))
    return course(
        "Requests without a count",
        "Requests for which the store failed, from one point to the next: closed were refused with 503,"
        " open were let through. on_error in the policy decides which.",
        Prom(_happened(failed, names.ON_ERROR), "{{otel_ratelimit_on_error}}"),
        unit="locale",
        stacked=True,
        colors={"closed": RED, "open": ORANGE},
        empty="none",
    )


def _queues() -> timeseries.Panel:
    by = f"max {promql.by(names.QUEUE)}"
    return course(
        "Queues",
        "How full each queue is in the worst process. It falls with each flush. If it does not, the"
        " database is away or too slow; above the line rows are about to be lost.",
        Prom(
            f"{by} ({promql.ours(names.QUEUE_LENGTH)} / {promql.ours(names.QUEUE_CAPACITY)})",
            "{{otel_ratelimit_queue}}",
        ),
        unit="percentunit",
        most=1,
        lines_at=steps((thresholds.QUEUE_NEARLY_FULL, RED), base="transparent"),
        empty="not recording",
    )


def _violations() -> timeseries.Panel:
    return course(
        "Violations written",
        "Violations written to the database, and those that could not be. Dropped means that the database"
        " was away for longer than the queue could hold, or that its tables are missing: otel-ratelimit db"
        " upgrade.",
        Prom(promql.rate(promql.ours(names.VIOLATIONS_RECORDED)), "recorded"),
        Prom(promql.rate(promql.ours(names.VIOLATIONS_DROPPED)), "dropped"),
        unit="ops",
        colors={"recorded": GREEN, "dropped": RED},
        empty="not recording",
    )


def _capture_duration() -> timeseries.Panel:
    bucket = promql.buckets(names.QUERY_CAPTURE_DURATION)
    return course(
        "Capture of a query",
        "Time that recording adds to a query, measured on one in 64. It is some microseconds; if it grows,"
        " lower OTEL_RATELIMIT_QUERY_SAMPLE_RATE.",
        *by_quantile(lambda quantile: promql.quantile(quantile, bucket)),
        unit="s",
        empty="no queries",
    )


def _written_last() -> table.Panel:
    return tables.rows(
        "Written last",
        "The newest row of each table. With traffic it is minutes old; if it is older, the application does"
        " not reach the database. The analysis is made once a day.",
        Sql(_FILE, "written_last"),
        [tables.Column("Last row", width=180), tables.Column("Age", "s", 1, 100)],
        empty="nothing written",
    )


def _table_sizes() -> table.Panel:
    return tables.rows(
        "Tables",
        "The largest tables, on disk with indexes, the days of the query log together; rows as PostgreSQL"
        " estimates them. If they are too large, shorten [analytics] retention or lower the sample rate.",
        Sql(_FILE, "table_sizes"),
        [tables.Column("Size", "decbytes", 1, 110), tables.Column("Rows", "locale", 0, 110)],
    )


def _policies() -> table.Panel:
    in_force = promql.ours(names.POLICY_INFO)
    panel = tables.rows(
        "Policies in force",
        "How many processes use which policy. One line for a service is right; a second line that stays is"
        " a process that refused the new policy: its log says why.",
        as_table(f"count by (job, {label(names.POLICY_HASH)}) ({in_force} == 1)"),
        [tables.Column("Policy", width=150), tables.Column("Processes", "locale", 0, 110)],
        empty="none",
    )
    return tables.organized(
        panel, {"job": "Service", label(names.POLICY_HASH): "Policy", "Value": "Processes"}
    )


def _reloads() -> timeseries.Panel:
    return course(
        "Policy reloads",
        "By outcome. Refused means that the file has mistakes and the former policy stays in force;"
        " otel-ratelimit policy check names them with their lines.",
        Prom(
            promql.increase(promql.ours(names.POLICY_RELOADS), names.OUTCOME, window="$__rate_interval"),
            "{{otel_ratelimit_outcome}}",
        ),
        unit="locale",
        colors={"reloaded": GREEN, "unchanged": "blue", "refused": RED},
    )


def _fallbacks() -> timeseries.Panel:
    return course(
        "Identities not found",
        "Requests counted by address because the header or function that the policy names gave nothing. If"
        " all requests are, the header is not sent, or its name is misspelt.",
        Prom(
            _happened(promql.ours(names.KEY_FALLBACKS), names.KEY, names.ERROR_TYPE),
            "{{otel_ratelimit_key}}: {{error_type}}",
        ),
        unit="locale",
        empty="none",
    )


def _last_reports() -> table.Panel:
    return tables.rows(
        "Last reports",
        "The nightly cache reports. If a day is missing, or was not mailed: otel-ratelimit report run makes"
        " and mails due reports, and says what prevents it.",
        Sql(_FILE, "last_reports"),
        [
            tables.Column("Day", width=100),
            tables.Column("Made", width=180),
            tables.Column("Mailed", width=180),
            tables.Column("Queries", "locale", 0, 100),
        ],
        empty="no report",
    )
