"""Metrics of others: of the collector, of its spanmetrics connector, and of Prometheus itself.

Names and labels are those that the collector 0.159.0 and Prometheus 2.42 export.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dashboards.source.instruments import RESOURCE_LABELS

_SPAN_LABELS: Final = (RESOURCE_LABELS - {"instance"}) | {
    *("service_name", "span_name", "span_kind", "status_code"),
    *("http_route", "http_request_method", "http_response_status_code", "db_system_name"),
}
_SCRAPED: Final = frozenset({"job", "instance"})


@dataclass(frozen=True, slots=True)
class ForeignMetric:
    """A metric that another project defines."""

    name: str
    labels: frozenset[str]
    why: str
    """The program that exports it, and its use here."""


def _of_receiver(what: str) -> tuple[ForeignMetric, ...]:
    labels = _SCRAPED | {"receiver", "transport"}
    return (
        ForeignMetric(f"otelcol_receiver_accepted_{what}", labels, "the collector: what came in"),
        ForeignMetric(f"otelcol_receiver_refused_{what}", labels, "the collector: what it sent back to us"),
    )


SPAN_CALLS: Final = "traces_span_metrics_calls_total"
SPAN_SECONDS: Final = "traces_span_metrics_duration_seconds"
TARGET_INFO: Final = "target_info"
ALERTS: Final = "ALERTS"

FOREIGN_METRICS: Final = {
    each.name: each
    for each in (
        ForeignMetric(SPAN_CALLS, _SPAN_LABELS, "spanmetrics: requests as clients see them, errors included"),
        ForeignMetric(f"{SPAN_SECONDS}_bucket", _SPAN_LABELS | {"le"}, "spanmetrics: how long they took"),
        ForeignMetric(
            TARGET_INFO,
            RESOURCE_LABELS | {"service_version"},
            "the collector's Prometheus exporter: one series a process, with its resource",
        ),
        ForeignMetric(
            ALERTS,
            RESOURCE_LABELS | {"alertname", "alertstate", "severity", "subject"},
            "Prometheus: alerts that fire",
        ),
        ForeignMetric("up", _SCRAPED, "Prometheus: whether the collector could be scraped"),
        *_of_receiver("spans"),
        *_of_receiver("metric_points"),
        ForeignMetric(
            "otelcol_exporter_queue_size",
            _SCRAPED | {"exporter", "data_type"},
            "the collector: batches that wait to be sent on",
        ),
        ForeignMetric(
            "otelcol_exporter_queue_capacity",
            _SCRAPED | {"exporter", "data_type"},
            "the collector: how many may wait",
        ),
        ForeignMetric(
            "otelcol_exporter_sent_spans",
            _SCRAPED | {"exporter"},
            "the collector: spans accepted by backends",
        ),
        ForeignMetric(
            "otelcol_exporter_send_failed_spans",
            _SCRAPED | {"exporter", "error_type"},
            "the collector: spans dropped after retries; the series does not exist before the first",
        ),
        ForeignMetric(
            "otelcol_exporter_enqueue_failed_spans",
            _SCRAPED | {"exporter"},
            "the collector: spans that found the queue full; the series does not exist before the first",
        ),
        ForeignMetric(
            "otelcol_process_memory_rss", _SCRAPED, "the collector: its memory, to hold against its limit"
        ),
        ForeignMetric("otelcol_process_uptime", _SCRAPED, "the collector: since when it runs"),
    )
}
