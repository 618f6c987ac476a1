"""The plugin's lines as log records of OpenTelemetry."""

from __future__ import annotations

import logging
import logging.config
import sys
from types import SimpleNamespace

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import LoggingHandler as SdkLoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from plugin_loggers import CHILD, OURS, lines
from refused_requests import refused, span

from otel_ratelimit.core import names
from otel_ratelimit.telemetry.logs import RefusalLog, ShownAddresses, otel_records


@pytest.mark.filterwarnings("ignore:.*LoggingHandler.*:DeprecationWarning")
@pytest.mark.parametrize("first", ["waitress", "opentelemetry"])
def test_below_waitress_a_line_is_exported_once_and_written_once(
    exported, nobodys, output, monkeypatch, first
):
    output()
    monkeypatch.setitem(sys.modules, "waitress", SimpleNamespace())
    logging.basicConfig()
    root = logging.getLogger()
    root.addHandler(SdkLoggingHandler(logger_provider=exported.provider))
    if first == "opentelemetry":
        root.handlers.reverse()
    CHILD.info("said")
    assert [record.body for record in exported.records()] == ["said"]
    assert nobodys.getvalue().count("said") == 1


@pytest.fixture
def exported(nobodys, monkeypatch):
    """Records that the provider received."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(otel_records, "get_logger_provider", lambda: provider)
    yield SimpleNamespace(
        provider=provider, records=lambda: [each.log_record for each in exporter.get_finished_logs()]
    )
    provider.shutdown()


def test_lines_are_log_records_with_severity_attributes_and_trace(exported, output):
    output()
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    with use_span(NonRecordingSpan(context)):
        CHILD.warning(
            "refused %d", 3, extra={names.HTTP_ROUTE: "/thing", names.STORAGE_KEYS_BY_ENDPOINT: {"a": 1}}
        )
    CHILD.error("failed", exc_info=ValueError("no"))
    CHILD.critical("full")
    first, second, third = exported.records()
    assert first.body == "refused 3"
    assert (first.severity_text, first.severity_number.value) == ("WARN", 13)
    assert (first.trace_id, first.span_id) == (0xABC, 0xDEF)
    assert first.attributes[names.HTTP_ROUTE] == "/thing"
    assert first.attributes[names.STORAGE_KEYS_BY_ENDPOINT]["a"] == 1
    assert second.attributes["exception.type"] == "ValueError"
    assert third.severity_text == "FATAL"


def test_records_go_out_where_the_application_writes_the_lines_itself(exported, output, nobodys):
    logging.basicConfig(format="app %(message)s")
    output()
    CHILD.warning("minded")
    assert [record.body for record in exported.records()] == ["minded"]
    assert lines(nobodys) == ["app minded"]


@pytest.mark.filterwarnings("ignore:.*LoggingHandler.*:DeprecationWarning")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_logging_handler_of_opentelemetry_on_the_root_makes_no_second_record(
    exported, output, nobodys, when
):
    if when == "after":
        output()
    logging.getLogger().addHandler(SdkLoggingHandler(logger_provider=exported.provider))
    if when == "before":
        output()
    CHILD.info("said")
    assert [record.body for record in exported.records()] == ["said"]
    # It is no place that an operator reads, so the line is on standard error too.
    assert [line.rpartition(" ")[2] for line in lines(nobodys)] == ["said"]


@pytest.mark.filterwarnings("ignore:.*LoggingHandler.*:DeprecationWarning")
@pytest.mark.parametrize("on_root", [False, True], ids=["ours", "root"])
def test_a_refusals_record_has_the_trace_of_the_request(exported, output, on_root):
    output()
    if on_root:
        logging.getLogger().addHandler(SdkLoggingHandler(logger_provider=exported.provider))
    log = RefusalLog(ShownAddresses("whole"))
    with span(0xABC):
        log(refused())
    log.tick()
    [record] = exported.records()
    assert record.trace_id == 0xABC
    assert record.attributes[names.REFUSED_REQUESTS] == 1
    assert record.attributes[names.CLIENT_ADDRESS] == "198.51.100.7"


def test_handlers_of_the_application_make_no_spans_in_the_refused_requests_trace(nobodys, output):
    seen = []

    class Sends(logging.Handler):
        def emit(self, record):
            seen.append(is_instrumentation_enabled())

    OURS.addHandler(Sends())
    log = RefusalLog(ShownAddresses("whole"))
    log(refused())
    log.tick()
    assert seen == [False]
