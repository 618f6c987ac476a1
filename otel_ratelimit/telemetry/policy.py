"""Which policy is in force, and how its reloads went."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import Meter

from otel_ratelimit.core import names
from otel_ratelimit.telemetry.shared_gauges import Gauge, Reading, observe

RELOAD_OUTCOMES: Final = ("reloaded", "unchanged", "refused")


class PolicyTelemetry:
    """`policy.info` is 1 for the policy in force; a former one goes to 0.

    Its gauge is read at each collection of metrics, and read first: the SDK asks observable
    instruments before it collects the others. `before_collection` makes use of that.
    """

    def __init__(self, meter: Meter, before_collection: Callable[[], None]) -> None:
        self._before_collection = before_collection
        self._in_force: dict[str, int] = {}
        self._reloads = meter.create_counter(
            names.POLICY_RELOADS, unit="{reload}", description="Reloads of the policy file by outcome."
        )
        # Prometheus sees no increase in a series that begins at more than zero.
        for outcome in RELOAD_OUTCOMES:
            self._reloads.add(0, {names.OUTCOME: outcome})
        observe(meter, Gauge(names.POLICY_INFO, "1", "The policy in force.", max), self._info)

    def in_force(self, policy_hash: str) -> None:
        """Say that the policy with this hash now decides."""
        former = [known for known in self._in_force if known != policy_hash]
        # The last one only: each edit of the file would otherwise leave a series behind.
        self._in_force = {**dict.fromkeys(former[-1:], 0), policy_hash: 1}

    def reloaded(self, outcome: str) -> None:
        """Count a reload: `reloaded`, `unchanged` or `refused`."""
        self._reloads.add(1, {names.OUTCOME: outcome})

    def retire(self) -> None:
        """Report no policy any more."""
        self._in_force = {}

    def _info(self) -> Iterable[Reading]:
        self._before_collection()
        return [(value, {names.POLICY_HASH: known}) for known, value in self._in_force.items()]
