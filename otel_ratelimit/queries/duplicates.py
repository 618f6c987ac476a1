"""Queries that ran again and again: what `detect_duplicates` finds in the query log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RepeatsInRequests:
    """Requests of one endpoint that ran one template at least five times: an N+1 pattern."""

    endpoint: str
    template: str
    template_hash: int
    requests: int
    executions: int
    """Executions in these requests."""
    most: int
    """Executions in the worst of these requests."""
    example_trace: str | None
    """Trace of the worst of these requests, 32 hex digits."""


@dataclass(frozen=True, slots=True)
class RepeatsInTime:
    """Executions of one template that repeated an execution of shortly before."""

    template: str
    template_hash: int
    executions: float
    """Estimated where keys were sampled."""
    repeats: float
    """The executions that repeated one within the time; estimated likewise."""

    @property
    def share(self) -> float:
        """Share of the executions that were repeats, 0 to 1."""
        return self.repeats / self.executions if self.executions else 0.0


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Repeats in requests and repeats in time, the worst first."""

    in_requests: tuple[RepeatsInRequests, ...]
    in_time: tuple[RepeatsInTime, ...]
    services: tuple[str, ...] = ()
    """All services whose queries are recorded in the period, by name."""
    service: str | None = None
    """The service whose queries these are; None if they are those of all `services`."""
    without_service: int = 0
    """Executions of the period that an earlier version recorded without a service. No service's figures
    include them."""
