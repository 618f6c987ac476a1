"""What is found in the query log about queries that ran again and again."""

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
    """In those requests."""
    most: int
    """In the worst of them."""
    example_trace: str | None
    """Of the worst of them, 32 hex digits."""


@dataclass(frozen=True, slots=True)
class RepeatsInTime:
    """Executions of one template that asked what had been asked shortly before."""

    template: str
    template_hash: int
    executions: float
    """Estimated where keys were sampled."""
    repeats: float
    """Of those, the ones that asked what had been asked within the time."""

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.repeats / self.executions if self.executions else 0.0


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Both, the worst first."""

    in_requests: tuple[RepeatsInRequests, ...]
    in_time: tuple[RepeatsInTime, ...]
    services: tuple[str, ...] = ()
    """All whose queries are recorded in the period, by name."""
    service: str | None = None
    """The only one whose queries these are; None: they are of all `services`."""
    without_service: int = 0
    """Executions of the period that an earlier version recorded without a service; no service's figures
    have them."""
