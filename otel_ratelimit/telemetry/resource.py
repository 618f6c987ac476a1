"""The resource attribute `service.name`, under which this process reports."""

from __future__ import annotations

from opentelemetry.trace import get_tracer_provider


def service_name(default: str) -> str:
    """`service.name` of the tracer provider's resource; `default` where nobody set it."""
    resource = getattr(get_tracer_provider(), "resource", None)
    name = str(resource.attributes.get("service.name", "")) if resource is not None else ""
    return default if not name or name.startswith("unknown_service") else name
