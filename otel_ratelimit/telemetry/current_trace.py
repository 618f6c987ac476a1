"""The trace of the current span: as a number for the query log, as text for violations."""

from __future__ import annotations

from opentelemetry.trace import format_trace_id, get_current_span


def trace_id() -> int:
    """The trace of the current span; 0 without one."""
    return get_current_span().get_span_context().trace_id


def current_trace_id() -> str | None:
    """The trace of the current span, 32 hex digits; None without one."""
    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None
