"""Hands on what was summed up about decisions: to the metrics, and to the processes that share the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from otel_ratelimit.core.decision import DecisionKind
from otel_ratelimit.telemetry import DecisionTelemetry


@dataclass(frozen=True)
class DecisionCounts:
    """The decisions of this process."""

    decisions: DecisionTelemetry
    write: Callable[[Mapping[DecisionKind, int]], object]
    """Called with the number of requests that this process has decided in all, by kind."""

    def flush(self) -> None:
        """Hand on what is new; every few seconds, and at the end of the process."""
        self.decisions.flush()
        self.write(self.decisions.totals())
