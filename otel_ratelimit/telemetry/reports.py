"""The nightly report as a trace, and its gauges."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from opentelemetry.metrics import Meter
from opentelemetry.trace import Tracer

from otel_ratelimit.core import names
from otel_ratelimit.telemetry.shared_gauges import Gauge, Reading, observe

LAST_SUCCESS = Gauge(
    names.REPORT_LAST_SUCCESS, "s", "Unix time at which all cache reports that were due had been made."
)
HIT_POTENTIAL = Gauge(
    names.CACHE_HIT_POTENTIAL, "1", "Share of queries that the cache of the last report would have answered."
)


@dataclass(frozen=True, slots=True)
class _Last:
    at: float
    hit_potential: float | None


class ReportTelemetry:
    """Spans of runs, days and e-mails, and gauges of the last successful run.

    Args:
        meter: for the gauges.
        tracer: for the spans.
    """

    def __init__(self, meter: Meter, tracer: Tracer) -> None:
        self._tracer = tracer
        self._last: _Last | None = None
        observe(meter, LAST_SUCCESS, self._read_last_success)
        observe(meter, HIT_POTENTIAL, self._read_hit_potential)

    @contextmanager
    def run(self) -> Iterator[None]:
        """The span of one run: the root of a trace unless another span is current."""
        with self._tracer.start_as_current_span(names.REPORT_SPAN):
            yield

    @contextmanager
    def day(self, day: date) -> Iterator[None]:
        """The span of the analysis of one day; it records an exception."""
        attributes = {names.REPORT_DATE: day.isoformat()}
        with self._tracer.start_as_current_span(names.REPORT_DAY_SPAN, attributes=attributes):
            yield

    @contextmanager
    def mail(self) -> Iterator[None]:
        """The span of the e-mail; it records an exception."""
        with self._tracer.start_as_current_span(names.REPORT_MAIL_SPAN):
            yield

    def succeeded(self, at: float, hit_potential: float | None) -> None:
        """Note a run that made every report that was due.

        Args:
            at: Unix time, seconds.
            hit_potential: of the last full day's report, 0 to 1; None where no report was due.
        """
        self._last = _Last(at, hit_potential)

    def _read_last_success(self) -> Iterable[Reading]:
        return [(self._last.at, {})] if self._last is not None else []

    def _read_hit_potential(self) -> Iterable[Reading]:
        if self._last is None or self._last.hit_potential is None:
            return []
        return [(self._last.hit_potential, {})]


# Weak: the meters belong to the OpenTelemetry provider.
_by_meter: weakref.WeakKeyDictionary[Meter, ReportTelemetry] = weakref.WeakKeyDictionary()


def report_telemetry(meter: Meter, tracer: Tracer) -> ReportTelemetry:
    """The `ReportTelemetry` of `meter`; its gauges keep their values after the job has ended."""
    known = _by_meter.get(meter)
    if known is None:
        known = _by_meter[meter] = ReportTelemetry(meter, tracer)
    return known
