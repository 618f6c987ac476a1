"""The query cache advisor: would a cache of query results pay, and what would be cached?"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import barchart, common, gauge, stat, table, timeseries
from grafana_foundation_sdk.models import common as models

from dashboards.source import links, promql, tables, traffic
from dashboards.source.asked import Prom, Sql, at_end
from dashboards.source.layout import Row, line, row
from dashboards.source.panels import (
    GREEN,
    NEUTRAL,
    ORANGE,
    RED,
    course,
    dial,
    dressed,
    figure,
    legend_below,
    mapped,
    steps,
)
from dashboards.source.postgres import Format
from otel_ratelimit.cache_advice.cost_benefit import MIN_LOAD_REDUCTION
from otel_ratelimit.core import names, thresholds

UID: Final = links.CACHE
DESCRIPTION: Final = (
    "Would a cache of query results pay, what would be cached, and which data support the answer?"
)
TIME: Final = "now-24h"

OUTCOME_COLORS: Final = {"recorded": GREEN, "sampled_out": "blue", "dropped": RED}
_HISTORY: Final = "30d"
"""The time shown for values with one a day, whatever time the dashboard shows."""
_FILE: Final = "cache_advisor"
_NO_REPORT: Final = "no report"


def rows() -> list[Row]:
    """Rows from the answer down to the data that it is based on."""
    return [
        row(
            "Would a cache pay?",
            line(
                4,
                (3, _verdict()),
                (3, _hits()),
                (3, _ttl()),
                (3, _memory()),
                (3, _load()),
                (3, _break_even()),
                (3, _age()),
                (3, _exported()),
            ),
            line(4, (24, _reason())),
        ),
        row(
            "What would one cache?",
            line(12, (24, _most_worth())),
            line(9, (15, _comparison()), (9, _prices())),
            line(9, (12, _by_ttl()), (12, _not_cacheable())),
        ),
        row(
            "Day by day",
            line(8, (12, _hits_by_day()), (12, _money_by_day())),
            line(8, (12, _executions_by_day()), (12, _memory_by_day())),
        ),
        row(
            "What it rests on",
            line(8, (8, queries_by_outcome()), (8, _kept()), (8, _repeating_routes())),
            line(9, (24, _repeats())),
            line(10, (24, traffic.last_violations())),
        ),
    ]


def queries_by_outcome() -> timeseries.Panel:
    """Outcomes of the application's queries."""
    return course(
        "Queries by outcome",
        "Sampling is intended and costs the report little. Dropped queries mean that the queue was full:"
        " look at the database and at OTEL_RATELIMIT_QUERY_SAMPLE_RATE.",
        Prom(promql.rate(promql.ours(names.QUERIES), names.OUTCOME), "{{otel_ratelimit_outcome}}"),
        unit="ops",
        stacked=True,
        colors=OUTCOME_COLORS,
        empty="no queries",
    )


def _verdict() -> stat.Panel:
    panel = figure(
        "Would it pay?",
        "The answer of the last report; the reason is below. Yes: begin with the first query in the list of"
        " what to cache. No: look again when traffic or prices change.",
        Sql(_FILE, "verdict"),
        unit="none",
        colors=steps(base=NEUTRAL),
        empty=_NO_REPORT,
    )
    panel.color_mode(models.BigValueColorMode.BACKGROUND)
    return panel.mappings([mapped({"1": ("yes", GREEN), "0": ("no", "blue")})])


def _hits() -> gauge.Panel:
    return dial(
        "Hit potential",
        "Share of the cacheable queries that the planned cache would have answered. Compare it with the hit"
        " ratio of the cache once you have one.",
        Sql(_FILE, "hit_potential"),
        unit="percentunit",
        colors=steps((0.2, "yellow"), (0.5, GREEN), base="blue"),
        most=1,
    )


def _ttl() -> stat.Panel:
    return figure(
        "Recommended TTL",
        "One TTL that suits all planned queries; the table below has one for each.",
        Sql(_FILE, "recommended_ttl"),
        unit="s",
        colors=steps(base=NEUTRAL),
        empty="none pays",
    )


def _memory() -> stat.Panel:
    return figure(
        "Memory",
        "Memory of the planned cache at its peak. Give the engine a quarter more, for its own work.",
        Sql(_FILE, "estimated_memory"),
        unit="decbytes",
        decimals=1,
        colors=steps(base=NEUTRAL),
        empty=_NO_REPORT,
    )


def _load() -> stat.Panel:
    return figure(
        "Load taken off",
        "Share of the database's query time that the cache would save. Below a tenth a cache is one more"
        " thing to operate for little, unless saved time has a price in [cache].",
        Sql(_FILE, "load_reduction"),
        unit="percentunit",
        decimals=1,
        colors=steps((MIN_LOAD_REDUCTION, GREEN), base="blue"),
        empty=_NO_REPORT,
    )


def _break_even() -> stat.Panel:
    return figure(
        "Break-even",
        "Queries a day from which the cache pays for itself, if they are like these. If it shows never, or"
        " that no value is set: give saved time a price in the policy's [cache].",
        Sql(_FILE, "break_even"),
        unit="short",
        decimals=1,
        colors=steps(base=NEUTRAL),
        empty="no value set",
    )


def _age() -> stat.Panel:
    return figure(
        "Report made",
        "Age of the last report. Older than a day and two hours: last night's report is missing; run"
        " otel-ratelimit report run.",
        Sql(_FILE, "report_age"),
        unit="s",
        decimals=1,
        colors=steps((thresholds.REPORT_OVERDUE_SECONDS, RED)),
        empty=_NO_REPORT,
    )


def _exported() -> stat.Panel:
    return figure(
        "As exported",
        "Hit potential as exported by the process that makes reports. If it is missing, or differs from the"
        " figure beside the answer: start that process with opentelemetry-instrument, so that alerts can use"
        " it.",
        at_end(f"max(last_over_time({promql.report(names.CACHE_HIT_POTENTIAL)}[2d]))"),
        unit="percentunit",
        decimals=0,
        colors=steps(base=NEUTRAL),
        empty="none in 2 days",
    )


def _reason() -> table.Panel:
    return tables.rows(
        "Reason",
        "The reason for the answer. Certain holds at both ends of the interval, likely only in its middle;"
        " open is based on a rule of thumb, because saved time has no price in the policy's [cache].",
        Sql(_FILE, "reason"),
        [
            tables.Column("Day", width=110),
            tables.Column("Reason", wraps=True),
            tables.Column(
                "Certainty",
                width=110,
                mapping=mapped(
                    {"certain": ("certain", GREEN), "likely": ("likely", "yellow"), "open": ("open", "blue")}
                ),
            ),
        ],
        empty=_NO_REPORT,
    )


def _most_worth() -> table.Panel:
    return tables.rows(
        "Top 10 to cache",
        "The queries whose caching saves most, the most worthwhile first: cache the first with its own TTL."
        " Drop on write means that code deletes the cached answers that it changes. Where none is worth"
        " caching: the queries that repeat most, and why they are not worth it.",
        Sql(_FILE, "most_worth"),
        [
            tables.Column("Query", width=430, opens=True),
            tables.Column(
                "Worth it", width=80, mapping=mapped({"yes": ("yes", GREEN), "no": ("no", "blue")})
            ),
            tables.Column("TTL", "s", width=80),
            tables.Column("Hits", tables.SHARE, 1, 80),
            tables.Column("Executions", "locale", 0, 100),
            tables.Column("Repeats", "locale", 0, 90),
            tables.Column("Takes", "ms", 1, 80),
            tables.Column("Saves a day", "ms", 1, 110),
            tables.Column("Memory", "decbytes", 1, 90),
            tables.Column("How", width=190),
            tables.Column("Why", opens=True),
        ],
        empty="nothing repeats",
    )


def _comparison() -> table.Panel:
    return tables.rows(
        "With and without a cache",
        "The effect of the planned cache; where no query is worth caching, that of a cache for all"
        " cacheable queries. Give saved time a price in the policy's [cache] for a balance in money.",
        Sql(_FILE, "comparison"),
        [
            tables.Column("What", width=330),
            tables.Column("Without", "locale", 2),
            tables.Column("With", "locale", 2),
            tables.Column("Difference", "locale", 2),
            tables.Column("Unit", width=90),
        ],
        empty=_NO_REPORT,
    )


def _by_ttl() -> barchart.Panel:
    panel = dressed(
        barchart.Panel(),
        "Hit ratio by TTL",
        "The hit ratio if every cacheable query went through the cache. Choose the shortest TTL after which"
        " the bars hardly grow; the difference between the two bars is the cost of writes.",
        "percentunit",
        [Sql(_FILE, "hit_ratio_by_ttl")],
    )
    panel.x_field("TTL").orientation(models.VizOrientation.VERTICAL).min(0).max(1).no_value(_NO_REPORT)
    panel.show_value(models.VisibilityMode.NEVER).x_tick_label_max_length(8).x_tick_label_spacing(50)
    panel.tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))
    return panel.legend(legend_below())


def _prices() -> table.Panel:
    return tables.rows(
        "Prices",
        "The monthly cost of that cache, the cheapest first. Set your provider's prices in the policy's"
        " [cache].",
        Sql(_FILE, "prices"),
        [tables.Column("A month", "locale", 2, 90), tables.Column("Currency", width=80)],
        empty="nothing to pay for",
    )


def _not_cacheable() -> table.Panel:
    return tables.rows(
        "Not to be cached",
        "Queries that no cache can answer, and why. If a frequent query calls now(), replace it by a"
        " parameter.",
        Sql(_FILE, "not_cacheable"),
        [
            tables.Column("Reason", width=200, opens=True),
            tables.Column("Share", tables.SHARE, 1, 70),
            tables.Column("Executions", "locale", 0, 100),
            tables.Column("Example", opens=True),
        ],
        empty=_NO_REPORT,
    )


def _hits_by_day() -> timeseries.Panel:
    return course(
        "Hit potential by day",
        "Share that the planned cache would have answered, and share that had been asked before on that"
        " day, which no cache can exceed. One day is weak evidence: wait for a week with the same result.",
        Sql(_FILE, "hit_potential_by_day", Format.TIME_SERIES),
        unit="percentunit",
        colors={"Hits of the planned cache": GREEN, "Asked before on that day": "blue"},
        most=1,
        empty=_NO_REPORT,
    ).time_from(_HISTORY)


def _money_by_day() -> timeseries.Panel:
    return course(
        "Cost against benefit",
        "Monthly cost and benefit of a cache for each day's traffic, in the currency of [cache]. It pays"
        " where green is above orange; without a price for saved time green is at zero.",
        Sql(_FILE, "money_by_day", Format.TIME_SERIES),
        unit="locale",
        colors={"Costs a month": ORANGE, "Brings a month": GREEN},
        empty=_NO_REPORT,
    ).time_from(_HISTORY)


def _executions_by_day() -> timeseries.Panel:
    return course(
        "Queries by day",
        "Cacheable queries, and those of them that had been asked before. Above the break-even a cache"
        " pays; there is no break-even where saved time has no price.",
        Sql(_FILE, "executions_by_day", Format.TIME_SERIES),
        unit="short",
        colors={"A cache could answer": "blue", "Asked before": GREEN, "Break-even": ORANGE},
        empty=_NO_REPORT,
    ).time_from(_HISTORY)


def _memory_by_day() -> timeseries.Panel:
    return course(
        "Memory by day",
        "Memory of the planned cache at each day's peak. Size the engine for the highest day, and a quarter"
        " more.",
        Sql(_FILE, "memory_by_day", Format.TIME_SERIES),
        unit="decbytes",
        colors={"Memory at the peak": "purple"},
        empty=_NO_REPORT,
    ).time_from(_HISTORY)


def _kept() -> timeseries.Panel:
    recorded = promql.rate(promql.ours(names.QUERIES, promql.equals(names.OUTCOME, "recorded")))
    return course(
        "Kept in the query log",
        "Share of the executions that were recorded. Hot queries are kept completely, so half is plenty;"
        " near zero the report's intervals are wide.",
        Prom(promql.share(recorded, promql.rate(promql.ours(names.QUERIES))), "recorded"),
        unit="percentunit",
        colors={"recorded": GREEN},
        most=1,
        empty="no queries",
    )


def _repeating_routes() -> timeseries.Panel:
    return course(
        "Repeating requests by route",
        "Requests that ran one query five times or more (N+1), by route. A cache does not solve that: fetch"
        " the rows at once; the table below has the queries.",
        Prom(
            f"topk(10, {promql.rate(promql.ours(names.QUERY_REPEATS), names.HTTP_ROUTE)})", "{{http_route}}"
        ),
        unit="reqps",
        empty="none",
    )


def _repeats() -> table.Panel:
    return tables.rows(
        "Repeated in one request",
        "Queries that ran again and again within a request. Use a join or a list instead of a loop; the"
        " trace is that of the worst request.",
        Sql(_FILE, "repeats"),
        [
            tables.Column("Service", width=130),
            tables.Column("Route", width=230),
            tables.Column("Query", opens=True),
            tables.Column("Requests", "locale", 0, 100),
            tables.Column("In each", "locale", 1, 100),
            tables.Column("In the worst", "locale", 0, 110, colors=((20, ORANGE), (100, RED))),
            traffic.trace_column(),
        ],
        empty="none",
    )
