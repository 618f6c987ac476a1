"""Reads the policy file again on SIGHUP and when it has changed, and puts it in force.

The signal handler only wakes the background thread. It is installed where that does no harm: in the main
thread, and not in a process on a terminal, which a hang-up must still end. A former handler is called too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from flask import Flask

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.route_plan import RoutePlan
from otel_ratelimit.policy import PolicyFile, ReloadResult, fresh_counters, listed
from otel_ratelimit.runtime.attachment import attached_or_none
from otel_ratelimit.runtime.hangup_signal import hangups
from otel_ratelimit.runtime.parts import Parts

_logger = logging.getLogger(__name__)

POLICY_POLL_SECONDS: Final = 2.0
"""How often the background thread compares the policy file's modification time."""
_TASK: Final = "policy file"


def warn_of_fresh_counters(before: Iterable[RoutePlan], after: Iterable[RoutePlan]) -> None:
    """Log which limits count from zero under the new policy, if any do."""
    fresh = fresh_counters(before, after)
    if fresh:
        _logger.warning("with the new policy, %d limits start from zero:\n%s", len(fresh), listed(fresh))


def apply_reload(parts: Parts, apps: Iterable[Flask], result: ReloadResult) -> None:
    """Put a reloaded policy in force; counters stay where route, window and strategy do.

    Args:
        parts: where the policy is in force.
        apps: the applications that have their limits from there.
        result: of the reload.
    """
    telemetry, file = parts.telemetry.policy, parts.policy.file
    if file is None or result.outcome != "reloaded":
        telemetry.reloaded(result.outcome)
        return
    problems = parts.storage.unable(file.policy.strategies)
    if problems:
        _logger.error("the changed policy is refused: %s", "; ".join(map(str, problems)))
        telemetry.reloaded("refused")
        return
    telemetry.reloaded(result.outcome)
    parts.policy.adopt(file.policy)
    for app in list(apps):
        placed = attached_or_none(app)
        if placed is None:
            continue  # taken away meanwhile
        hooks = placed.hooks
        former, hooks.enforcement = hooks.enforcement.plans, parts.enforcement(app)
        warn_of_fresh_counters(former.governing(), hooks.enforcement.plans.governing())
    telemetry.in_force(result.policy_hash)


class PolicyReloader:
    """Looks at the policy file on the background thread, and passes on what came of a reload.

    Args:
        file: the policy file.
        worker: the process's background thread.
        apply: called with the result of each reload, on that thread.
        poll_seconds: between two looks.
    """

    def __init__(
        self,
        file: PolicyFile,
        worker: BackgroundWorker,
        apply: Callable[[ReloadResult], None],
        poll_seconds: float = POLICY_POLL_SECONDS,
    ) -> None:
        self._file = file
        self._worker = worker
        self._apply = apply
        self._signalled = False
        self._is_listening = False
        worker.every(poll_seconds, _TASK, self.look, start=False)

    def look(self) -> None:
        """Reload if the file has changed or a signal asked for it."""
        asked, self._signalled = self._signalled, False
        if asked or self._file.changed():
            self._apply(self._file.reload())

    def listen(self) -> bool:
        """Reload on SIGHUP from now on; False if it does so already, or where no handler can be installed."""
        if self._is_listening:
            return False
        self._is_listening = hangups.add(self._hung_up)
        return self._is_listening

    def close(self) -> None:
        """Stop looking, and listen to no signal."""
        self._worker.cancel(_TASK)
        hangups.discard(self._hung_up)
        self._is_listening = False

    def _hung_up(self) -> None:
        self._signalled = True
        self._worker.wake(_TASK)
