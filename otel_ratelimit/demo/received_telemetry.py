"""Telemetry that the application sent over OTLP, kept for questions.

Points are cumulative: the latest one of each series counts. A worker that replaces another has new series,
under its own `service.instance.id`; sums include all instances.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

Attributes: TypeAlias = Mapping[str, str]
_Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""An instance, and the attributes of a point."""

_INSTANCE: Final = "service.instance.id"
_MAX_SPANS: Final = 2000


@dataclass(frozen=True, slots=True)
class Point:
    """One series of a counter or gauge, summed over instances."""

    attributes: Attributes
    value: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution in buckets; `counts` has one more than `bounds`."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    def quantile(self, share: float) -> float | None:
        """Value that `share` of the measurements do not exceed, interpolated in its bucket; None if empty.

        Above the last bound nothing is known, so the last bound is returned.
        """
        total = sum(self.counts)
        if total == 0:
            return None
        rank, below = share * total, 0
        edges = (0.0, *self.bounds)
        for lower, upper, count in zip(edges, self.bounds, self.counts, strict=False):
            if count and below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            below += count
        return self.bounds[-1]


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it was exported."""

    name: str
    kind: str
    trace_id: str
    duration_ms: float
    attributes: Attributes
    events: tuple[str, ...] = ()
    """Their names."""


class Telemetry:
    """Receives exports on any thread, answers questions on any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, dict[_Series, float]] = {}
        self._histograms: dict[str, dict[_Series, Histogram]] = {}
        self._exemplars: dict[str, dict[_Series, str]] = {}
        self._spans: deque[Span] = deque(maxlen=_MAX_SPANS)

    def add_metrics(self, request: ExportMetricsServiceRequest) -> None:
        """Add one export of metrics."""
        with self._lock:
            for resource in request.resource_metrics:
                instance = _strings(resource.resource.attributes).get(_INSTANCE, "")
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        self._add_metric(instance, metric)

    def add_spans(self, request: ExportTraceServiceRequest) -> None:
        """Add one export of spans."""
        spans = [
            Span(
                name=span.name,
                kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                trace_id=span.trace_id.hex(),
                duration_ms=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                attributes=_strings(span.attributes),
                events=tuple(event.name for event in span.events),
            )
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans.extend(spans)

    def points(self, metric: str) -> list[Point]:
        """The series of a counter or gauge."""
        with self._lock:
            merged: dict[frozenset[tuple[str, str]], float] = {}
            for (_, attributes), value in self._numbers.get(metric, {}).items():
                merged[attributes] = merged.get(attributes, 0.0) + value
        return [Point(dict(attributes), value) for attributes, value in merged.items()]

    def total(self, metric: str) -> float:
        """The sum over all series of a metric."""
        return sum(point.value for point in self.points(metric))

    def histogram(self, metric: str) -> Histogram | None:
        """All series of a histogram together; None if there is none."""
        with self._lock:
            all_series = list(self._histograms.get(metric, {}).values())
        if not all_series:
            return None
        bounds = all_series[0].bounds
        alike = [series.counts for series in all_series if series.bounds == bounds]
        return Histogram(bounds, tuple(sum(counts) for counts in zip(*alike, strict=True)))

    def spans(self) -> list[Span]:
        """The latest spans, oldest first."""
        with self._lock:
            return list(self._spans)

    def exemplars(self, metric: str) -> set[str]:
        """The traces that the exemplars of a metric point to."""
        with self._lock:
            return set(self._exemplars.get(metric, {}).values())

    def _add_metric(self, instance: str, metric: Any) -> None:
        kind = metric.WhichOneof("data")
        if kind not in ("sum", "gauge", "histogram"):
            return
        for point in getattr(metric, kind).data_points:
            series = (instance, frozenset(_strings(point.attributes).items()))
            for exemplar in point.exemplars:
                self._exemplars.setdefault(metric.name, {})[series] = exemplar.trace_id.hex()
            if kind == "histogram":
                histogram = Histogram(tuple(point.explicit_bounds), tuple(point.bucket_counts))
                self._histograms.setdefault(metric.name, {})[series] = histogram
            else:
                value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                self._numbers.setdefault(metric.name, {})[series] = value


def _strings(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {attribute.key: _string(attribute.value) for attribute in attributes}


def _string(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind == "double_value":
        return f"{value.double_value:g}"
    return str(getattr(value, kind)) if kind else ""
