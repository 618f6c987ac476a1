"""Which policy a command goes by: the file named, else that of the environment, else the built-in one.

What is wrong with it ends the command, with every problem.
"""

from __future__ import annotations

from pathlib import Path

from otel_ratelimit.cli.output import fail
from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.policy import Policy
from otel_ratelimit.runtime import which_policy


def policy_file(given: Path | None = None) -> Path | None:
    """`given`, else OTEL_RATELIMIT_POLICY, else ./ratelimit.toml if it is there; None for none of them."""
    try:
        return which_policy.policy_file(given)
    except ConfigurationError as error:
        fail(error)


def policy_of(file: Path | None) -> Policy:
    """The policy in `file`; the built-in policy for None."""
    try:
        return which_policy.policy_of(file)
    except ConfigurationError as error:
        fail(error)
