"""Which policy is in force, and how its reloads went."""

from __future__ import annotations

from opentelemetry.metrics import Meter

from otel_ratelimit import names


class PolicyTelemetry:
    """`policy.info` is 1 for the policy in force; a former one goes to 0."""

    def __init__(self, meter: Meter) -> None:
        self._info = meter.create_gauge(names.POLICY_INFO, unit="1", description="The policy in force.")
        self._reloads = meter.create_counter(
            names.POLICY_RELOADS, unit="{reload}", description="Reloads of the policy file by outcome."
        )
        self._hash = ""

    def in_force(self, policy_hash: str) -> None:
        """Say that the policy with this hash now decides."""
        if self._hash and self._hash != policy_hash:
            self._info.set(0, {names.POLICY_HASH: self._hash})
        self._hash = policy_hash
        self._info.set(1, {names.POLICY_HASH: policy_hash})

    def reloaded(self, outcome: str) -> None:
        """Count a reload: `reloaded`, `unchanged` or `refused`."""
        self._reloads.add(1, {names.OUTCOME: outcome})
