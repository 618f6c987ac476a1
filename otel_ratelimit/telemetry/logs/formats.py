"""The format of log lines where the application has not set up logging: text, or one JSON object a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from otel_ratelimit.core import names

FIELDS: Final[Mapping[str, str]] = {
    names.HTTP_ROUTE: "route",
    names.HTTP_REQUEST_METHOD: "method",
    names.TIER: "tier",
    names.LIMIT: "limit",
    names.DECISION: "decision",
    names.REFUSED_REQUESTS: "count",
    names.CLIENT_ADDRESS: "client",
    names.USER: "user",
    names.REFUSED_CLIENTS: "clients",
    names.REFUSED_LIMITS: "limits",
    names.STORAGE_SIZE: "bytes",
    names.STORAGE_CAPACITY: "capacity_bytes",
    names.STORAGE_USED_PERCENT: "percent",
    names.STORAGE_KEYS: "keys",
    names.STORAGE_KEYS_BY_ENDPOINT: "keys_by_endpoint",
    names.STORAGE_KEYS_BY_CLIENT_KIND: "keys_by_client_kind",
    names.CLEANUP_REMOVED_KEYS: "removed_keys",
    names.CLEANUP_FREED: "freed_bytes",
}
"""The JSON field of each attribute of a line."""

_TEXT: Final = "[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s"
_TIME: Final = "%Y-%m-%d %H:%M:%S %z"


def attributes_of(record: logging.LogRecord) -> dict[str, Any]:
    """The attributes of the line that are in `FIELDS`."""
    return {name: value for name, value in vars(record).items() if name in FIELDS}


def formatter(log_format: str) -> logging.Formatter:
    """The formatter for `text` or `json`."""
    return JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT, _TIME)


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, process, message; fields of the line; trace; exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of ASCII."""
        written: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        written |= {FIELDS[name]: value for name, value in attributes_of(record).items()}
        context = get_current_span().get_span_context()
        if context.is_valid:
            written["trace_id"] = format_trace_id(context.trace_id)
            written["span_id"] = format_span_id(context.span_id)
        if record.exc_info:
            written["exception"] = self.formatException(record.exc_info)
        return json.dumps(written, default=str)
