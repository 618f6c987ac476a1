"""What became of violations on their way to the database, as metrics; and which trace is being recorded."""

from __future__ import annotations

from opentelemetry.metrics import Meter
from opentelemetry.trace import format_trace_id, get_current_span, get_tracer_provider

from otel_ratelimit.core import names


class RecorderTelemetry:
    """Counters of violations written and lost."""

    def __init__(self, meter: Meter) -> None:
        self._recorded = meter.create_counter(
            names.VIOLATIONS_RECORDED, unit="{violation}", description="Violations written to the database."
        )
        self._dropped = meter.create_counter(
            names.VIOLATIONS_DROPPED, unit="{violation}", description="Violations that could not be written."
        )
        # Prometheus sees no increase in a series that begins at more than zero.
        self._recorded.add(0)
        self._dropped.add(0)

    def recorded(self, violations: int) -> None:
        """So many were written."""
        self._recorded.add(violations)

    def dropped(self, violations: int) -> None:
        """So many were lost."""
        self._dropped.add(violations)


def current_trace_id() -> str | None:
    """The trace of the current span, 32 hex digits; None without one."""
    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else None


def service_name(default: str) -> str:
    """`service.name` as the tracer provider's resource has it; `default` where nobody set it."""
    resource = getattr(get_tracer_provider(), "resource", None)
    name = str(resource.attributes.get("service.name", "")) if resource is not None else ""
    return default if not name or name.startswith("unknown_service") else name
