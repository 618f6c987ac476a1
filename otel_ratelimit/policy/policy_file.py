"""Reads the policy file again: a valid policy comes into force; otherwise the previous one stays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from otel_ratelimit.core.errors import PolicyError, Problem
from otel_ratelimit.policy.load import parse_policy, read_policy
from otel_ratelimit.policy.model import Policy
from otel_ratelimit.policy.resolve import policy_hash

_logger = logging.getLogger(__name__)

ReloadOutcome: TypeAlias = Literal["reloaded", "unchanged", "refused"]
_Stamp: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The result of a reload."""

    outcome: ReloadOutcome
    policy_hash: str
    """The hash of the policy that is in force afterwards."""
    problems: tuple[Problem, ...] = ()


class PolicyFile:
    """A policy file and the policy in force from it.

    Raises:
        PolicyError: at construction, when the file cannot be used.
    """

    def __init__(self, path: Path, parse: Callable[[str, str], Policy] = parse_policy) -> None:
        self.path = path
        self._parse = parse
        self._stamp = self._look()
        self._text = read_policy(path)
        self.policy = parse(self._text, str(path))
        self._refused: tuple[Problem, ...] = ()

    def changed(self) -> bool:
        """Whether the file has changed since it was last read; costs one `stat`."""
        return self._look() != self._stamp

    def reload(self) -> ReloadResult:
        """Read the file again; never raises."""
        self._stamp = self._look()
        try:
            text = read_policy(self.path)
            if text == self._text:
                self._refused = ()
                return ReloadResult("unchanged", policy_hash(self.policy))
            policy = self._parse(text, str(self.path))
        except PolicyError as error:
            return self._refuse(error.problems)
        self._text, self.policy, self._refused = text, policy, ()
        _logger.info("policy %s reloaded", self.path)
        return ReloadResult("reloaded", policy_hash(policy))

    def _refuse(self, problems: tuple[Problem, ...]) -> ReloadResult:
        if problems != self._refused:
            self._refused = problems
            _logger.error(
                "the changed policy is invalid, so the previous one stays in force:\n%s",
                "\n".join(f"  {problem}" for problem in problems),
            )
        return ReloadResult("refused", policy_hash(self.policy), problems)

    def _look(self) -> _Stamp:
        try:
            status = self.path.stat()
        except (OSError, ValueError):
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
