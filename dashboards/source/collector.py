"""The collector, and whether services report: the last rows of the plugin's health.

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
    """Rows from whether it runs down to whether data arrive."""
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
        "Collectors that Prometheus reaches. If there are fewer than you run, figures are missing, while"
        " requests are still limited; start the missing one.",
        Prom(f'sum({promql.foreign("up")}{{job="otel-collector"}})'),
        unit="locale",
        decimals=0,
        colors=steps((1, GREEN), base=RED),
        empty=_ABSENT,
    )


def _uptime() -> stat.Panel:
    return figure(
        "Up for",
        "Time since the last start of a collector. If it is always short, a collector is killed again and"
        " again, usually because of its memory.",
        Prom(f"min({promql.foreign('otelcol_process_uptime')})"),
        unit="s",
        decimals=1,
        colors=steps((600, GREEN), base=ORANGE),
        empty=_ABSENT,
    )


def _memory() -> stat.Panel:
    return figure(
        "Collector's memory",
        "Memory of the largest collector. Near the limit of its memory_limiter it refuses incoming data:"
        " give it more memory, or sample fewer traces.",
        Prom(f"max({promql.foreign('otelcol_process_memory_rss')})"),
        unit="decbytes",
        decimals=0,
        colors=steps(base=NEUTRAL),
        empty=_ABSENT,
    )


def _queue_share() -> stat.Panel:
    return figure(
        "Fullest queue",
        "How full the fullest queue of an exporter is. When it is full, new data are lost: the backend is"
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
        "Spans and points that the collector refused and the applications retry for a while: the collector"
        " is short of memory.",
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
        "Spans lost because the backend did not accept them for too long, or the queue was full. Look at"
        " the backend; make the queue larger if such an outage may come again.",
        # There are no such series before the first loss.
        at_end(lost),
        unit="short",
        decimals=0,
        colors=steps((SOME, RED)),
    )


def _received() -> timeseries.Panel:
    return course(
        "Received",
        "Data that the applications send. If there is nothing at all, their OTEL_EXPORTER_OTLP_ENDPOINT is"
        " wrong, or the network blocks it.",
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
        "By exporter, all collectors together. A growing queue means that its backend is away or too slow;"
        " it is kept on disk, so nothing is lost before it is full.",
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
        "Spans that backends accepted, that were dropped after retries, and that found the queue full. Tail"
        " sampling keeps fewer than were received: that is intended.",
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
        "Time since the last sample of each service that reported within the hour. The collector forgets a"
        " process after five minutes; a line that rises above that is a service that is down or cannot send.",
        Prom(f"time() - max by (job) (max_over_time(timestamp({seen})[1h:30s]))", "{{job}}"),
        unit="s",
        legend="table beside",
        lines_at=steps((thresholds.TELEMETRY_SILENT_SECONDS, RED), base="transparent"),
        empty="never heard of",
    )
