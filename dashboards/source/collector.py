"""The collector, and whether services are heard of: the last rows of the plugin's health.

Its own metrics have its own job, so that none of the dashboard's variables narrows them.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import stat, timeseries

from dashboards.source import promql
from dashboards.source.asked import Prom, at_end
from dashboards.source.foreign import TARGET_INFO
from dashboards.source.layout import Row, line, row
from dashboards.source.panels import GREEN, NEUTRAL, ORANGE, RED, SOME, course, figure, steps
from otel_ratelimit.core import thresholds

_SIZE: Final = promql.foreign("otelcol_exporter_queue_size")
_CAPACITY: Final = promql.foreign("otelcol_exporter_queue_capacity")
_ABSENT: Final = "no collector"


def rows() -> list[Row]:
    """From whether it runs to whether anything arrives."""
    return [
        row(
            "Collector",
            line(
                4,
                (4, _up()),
                (4, _uptime()),
                (4, _memory()),
                (4, _queue_share()),
                (4, _refused()),
                (4, _given_up()),
            ),
            line(8, (8, _received()), (8, _queues()), (8, _sent())),
            line(8, (24, _silence())),
        )
    ]


def _up() -> stat.Panel:
    return figure(
        "Collectors up",
        "How many Prometheus reaches. Fewer than you run: without one there are no figures, while requests"
        " are limited as ever; start it again.",
        Prom(f'sum({promql.foreign("up")}{{job="otel-collector"}})'),
        unit="locale",
        decimals=0,
        colors=steps((1, GREEN), base=RED),
        empty=_ABSENT,
    )


def _uptime() -> stat.Panel:
    return figure(
        "Up for",
        "The collector that was started last. Always short: it is killed again and again, for memory as a"
        " rule.",
        Prom(f"min({promql.foreign('otelcol_process_uptime')})"),
        unit="s",
        decimals=1,
        colors=steps((600, GREEN), base=ORANGE),
        empty=_ABSENT,
    )


def _memory() -> stat.Panel:
    return figure(
        "Collector's memory",
        "Of the largest. Near the limit of its memory_limiter it refuses what comes in: give it more, or"
        " sample more traces away.",
        Prom(f"max({promql.foreign('otelcol_process_memory_rss')})"),
        unit="decbytes",
        decimals=0,
        colors=steps(base=NEUTRAL),
        empty=_ABSENT,
    )


def _queue_share() -> stat.Panel:
    return figure(
        "Fullest queue",
        "Share of the room of the exporter that is worst off. Full: what comes next is lost; the backend is"
        " away or too slow.",
        Prom(f"max({_SIZE} / {_CAPACITY})"),
        unit="percentunit",
        decimals=0,
        colors=steps((thresholds.QUEUE_NEARLY_FULL / 2, ORANGE), (thresholds.QUEUE_NEARLY_FULL, RED)),
        empty=_ABSENT,
    )


def _refused() -> stat.Panel:
    refused = " + ".join(
        promql.increase(promql.foreign(f"otelcol_receiver_refused_{what}"))
        for what in ("spans", "metric_points")
    )
    return figure(
        "Refused",
        "Spans and points sent back to the applications, which try again for a while: the collector is short"
        " of memory.",
        at_end(refused),
        unit="short",
        decimals=0,
        colors=steps((SOME, RED)),
        empty=_ABSENT,
    )


def _given_up() -> stat.Panel:
    lost = " + ".join(
        f"({promql.happened(promql.foreign(f'otelcol_exporter_{what}_failed_spans'))} or vector(0))"
        for what in ("send", "enqueue")
    )
    return figure(
        "Given up",
        "Spans lost because the backend did not take them for too long, or the queue was full. Look at the"
        " backend; make the queue larger if it is away that long again.",
        # There are no such series before the first loss.
        at_end(lost),
        unit="short",
        decimals=0,
        colors=steps((SOME, RED)),
    )


def _received() -> timeseries.Panel:
    return course(
        "Received",
        "What the applications send. Nothing at all: their OTEL_EXPORTER_OTLP_ENDPOINT is wrong, or"
        " something is in the way.",
        *(
            Prom(
                promql.rate(promql.foreign(f"otelcol_receiver_accepted_{what}")),
                what.replace("_", " "),
            )
            for what in ("spans", "metric_points")
        ),
        unit="ops",
        empty=_ABSENT,
    )


def _queues() -> timeseries.Panel:
    return course(
        "Queues to backends",
        "By exporter, all collectors together. A queue that grows has a backend that is away or too slow; it"
        " is kept on disk, so nothing is lost before it is full.",
        Prom(f"sum by (exporter) ({_SIZE}) / sum by (exporter) ({_CAPACITY})", "{{exporter}}"),
        unit="percentunit",
        most=1,
        lines_at=steps((thresholds.QUEUE_NEARLY_FULL, RED), base="transparent"),
        empty=_ABSENT,
    )


def _sent() -> timeseries.Panel:
    def of(what: str) -> str:
        return promql.rate(promql.foreign(f"otelcol_exporter_{what}_spans"), "exporter")

    return course(
        "Spans sent on",
        "What backends took, what was given up after retries, and what found the queue full. Tail sampling"
        " keeps fewer than were received: that is intended.",
        Prom(of("sent"), "sent by {{exporter}}"),
        Prom(of("send_failed"), "given up by {{exporter}}"),
        Prom(of("enqueue_failed"), "no room at {{exporter}}"),
        unit="ops",
        empty=_ABSENT,
    )


def _silence() -> timeseries.Panel:
    seen = f"{promql.foreign(TARGET_INFO)}{{{promql.OF_PROCESSES}}}"
    return course(
        "Silence by service",
        "Time since the last sample of each service heard of within the hour. The collector forgets a"
        " process after five minutes; a line that climbs from there is a service that is down or cannot"
        " send.",
        Prom(f"time() - max by (job) (max_over_time(timestamp({seen})[1h:30s]))", "{{job}}"),
        unit="s",
        legend="table beside",
        lines_at=steps((thresholds.TELEMETRY_SILENT_SECONDS, RED), base="transparent"),
        empty="never heard of",
    )
