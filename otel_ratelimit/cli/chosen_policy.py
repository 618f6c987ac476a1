"""Which policy a command goes by: the file named, else that of the environment, else the built-in one.

What is wrong with it ends the command, with every problem.
"""

from __future__ import annotations

import os
from pathlib import Path

from otel_ratelimit.cli.output import fail
from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.policy import Policy, builtin_policy, load_policy


def policy_file(given: Path | None = None) -> Path | None:
    """`given`, else OTEL_RATELIMIT_POLICY, else ./ratelimit.toml if it is there; None for none of them."""
    if given is not None:
        return given
    try:
        return settings_from(os.environ).policy_file()
    except ConfigurationError as error:
        fail(error)


def policy_of(file: Path | None) -> Policy:
    """What the file says; the built-in policy where there is none."""
    try:
        return builtin_policy() if file is None else load_policy(file)
    except ConfigurationError as error:
        fail(error)
