"""The policy that a `RateLimit` enforces, which a changed file replaces."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from otel_ratelimit.core.settings import Settings
from otel_ratelimit.policy import Policy, PolicyFile, builtin_policy
from otel_ratelimit.runtime.shadow_mode import only_observes
from otel_ratelimit.runtime.which_policy import policy_file

_logger = logging.getLogger(__name__)

_READ_AT_START: Final = ("memory", "analytics")
"""Tables that are read once."""


class PolicyInForce:
    """The policy given, else that of a file, else the built-in one.

    Args:
        settings: where the file is, and whether limits are enforced.
        given: a policy, or anything else for the file of `settings`.

    Attributes:
        policy: what holds now.
        file: where it comes from; None where it is not from a file.
        shadow: whether all limits only observe.

    Raises:
        PolicyError: the file is missing or not valid.
        SettingsError: limits are required, and there is no policy to enforce.
    """

    def __init__(self, settings: Settings, given: Policy | Path | str | None) -> None:
        path = None if isinstance(given, Policy) else policy_file(settings=settings)
        self.file = None if path is None else PolicyFile(path)
        self._is_built_in = given is None and self.file is None
        if isinstance(given, Policy):
            self.policy = given
        else:
            self.policy = builtin_policy() if self.file is None else self.file.policy
        self.shadow = only_observes(settings, is_built_in=self._is_built_in)

    def __str__(self) -> str:
        if self.file is not None:
            return f"policy {self.file.path}"
        return "no policy file, so the built-in policy" if self._is_built_in else "the policy given"

    def adopt(self, changed: Policy) -> None:
        """Go by `changed` from now on; the log names tables that take effect at the next start only."""
        for table in _READ_AT_START:
            if getattr(changed, table) != getattr(self.policy, table):
                _logger.warning("the changed [%s] table takes effect at the next start", table)
        self.policy = changed
