"""The plugin's log lines as OpenTelemetry log records, where a `LoggerProvider` is set up."""

from __future__ import annotations

import logging
import time
from typing import Final

from opentelemetry._logs import SeverityNumber, get_logger_provider

from otel_ratelimit.core.version import __version__
from otel_ratelimit.telemetry.logs.formats import attributes_of
from otel_ratelimit.telemetry.logs.safe_handler import SafeHandler

_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
)


class OtelRecordsHandler(SafeHandler):
    """Emits each line to the provider that is set at that time, with the trace of the current span.

    Does nothing where a `LoggingHandler` of OpenTelemetry does the same for all loggers.
    """

    def write(self, record: logging.LogRecord) -> None:
        """Emit `record`."""
        if any(map(is_of_opentelemetry, reached_by(record))):
            return
        number, text = _severity(record.levelno)
        exception = record.exc_info[1] if record.exc_info else None
        get_logger_provider().get_logger(record.name, __version__).emit(
            timestamp=int(record.created * 1e9),
            observed_timestamp=time.time_ns(),
            severity_number=number,
            severity_text=text,
            body=record.getMessage(),
            attributes=attributes_of(record),
            exception=exception,
        )


def reached_by(record: logging.LogRecord) -> list[logging.Handler]:
    """Every handler that `record` reaches."""
    reached: list[logging.Handler] = []
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        reached += logger.handlers
        logger = logger.parent if logger.propagate else None
    return reached


def is_of_opentelemetry(handler: logging.Handler) -> bool:
    """Whether it is a `LoggingHandler`, of the SDK or of opentelemetry-instrumentation-logging."""
    return any(
        kind.__name__ == "LoggingHandler" and kind.__module__.startswith("opentelemetry.")
        for kind in type(handler).__mro__
    )


def _severity(level: int) -> tuple[SeverityNumber, str]:
    for lowest, number, text in _SEVERITIES:
        if level >= lowest:
            return number, text
    return SeverityNumber.DEBUG, "DEBUG"
