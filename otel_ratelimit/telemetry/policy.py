"""Which policy is in force, and how its reloads went."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import Meter

from otel_ratelimit.core import names
from otel_ratelimit.telemetry.shared_gauges import Gauge, Reading, observe

RELOAD_OUTCOMES: Final = ("reloaded", "unchanged", "refused")


class PolicyTelemetry:
    """The gauge `policy.info`, 1 for the policy in force and 0 for the former one, and a counter of reloads.

    The SDK reads observable instruments before it collects the others. So the gauge's callback is the place
    to call `before_collection`.
    """

    def __init__(self, meter: Meter, before_collection: Callable[[], None]) -> None:
        self._before_collection = before_collection
        self._in_force: dict[str, int] = {}
        self._reloads = meter.create_counter(
            names.POLICY_RELOADS, unit="{reload}", description="Reloads of the policy file by outcome."
        )
        # Prometheus sees no increase in a series that starts above zero.
        for outcome in RELOAD_OUTCOMES:
            self._reloads.add(0, {names.OUTCOME: outcome})
        observe(meter, Gauge(names.POLICY_INFO, "1", "The policy in force.", max), self._info)

    def in_force(self, policy_hash: str) -> None:
        """Report the policy with this hash as the one in force."""
        former = [known for known in self._in_force if known != policy_hash]
        # Only the last one: otherwise each edit of the file would leave a series.
        self._in_force = {**dict.fromkeys(former[-1:], 0), policy_hash: 1}

    def reloaded(self, outcome: str) -> None:
        """Count a reload: `reloaded`, `unchanged` or `refused`."""
        self._reloads.add(1, {names.OUTCOME: outcome})

    def retire(self) -> None:
        """Report no policy from now on."""
        self._in_force = {}

    def _info(self) -> Iterable[Reading]:
        self._before_collection()
        return [(value, {names.POLICY_HASH: known}) for known, value in self._in_force.items()]
