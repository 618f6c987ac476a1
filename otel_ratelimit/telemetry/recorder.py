"""How many violations were written to the database and how many were lost, as metrics."""

from __future__ import annotations

from opentelemetry.metrics import Meter

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
        # Prometheus sees no increase in a series that starts above zero.
        self._recorded.add(0)
        self._dropped.add(0)

    def recorded(self, violations: int) -> None:
        """Count violations that were written."""
        self._recorded.add(violations)

    def dropped(self, violations: int) -> None:
        """Count violations that were lost."""
        self._dropped.add(violations)
