"""The report job, at a time that the test sets."""

from __future__ import annotations

from itertools import chain, repeat

import pytest
from nightly_reports import NOW, REPORT
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_ratelimit.policy import parse_policy
from otel_ratelimit.reports.job import ReportJob
from otel_ratelimit.reports.mail import SmtpServer
from otel_ratelimit.reports.mailer import report_mailer
from otel_ratelimit.telemetry.reports import ReportTelemetry


class Seen:
    """The exported metrics."""

    def __init__(self):
        self.spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        meters = MeterProvider([self._reader])
        self.telemetry = ReportTelemetry(meters.get_meter("test"), tracers.get_tracer("test"))

    def gauges(self):
        data = self._reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        return {each.name: [point.value for point in each.data.data_points] for each in metrics}


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def job(seen):
    """`job(url, toml, now=..., smtp=...)`; `then`: what its clock says from the second time on."""
    made = []

    def make(url, toml=REPORT, *, now=NOW, then=None, smtp=None, tell=lambda _: None):
        readings = chain([now], repeat(then or now))
        rules = parse_policy(toml, "test.toml")
        mailing = report_mailer(SmtpServer.parse(smtp) if smtp else None, rules.report, "shop")
        made.append(
            ReportJob(
                url,
                rules,
                mailer=mailing,
                telemetry=seen.telemetry,
                clock=lambda: next(readings).timestamp(),
                tell=tell,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()
