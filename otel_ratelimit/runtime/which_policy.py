"""Which policy is meant: the one given, else that of the environment, else the built-in one."""

from __future__ import annotations

import os
from pathlib import Path

from otel_ratelimit.core.settings import Settings, settings_from
from otel_ratelimit.policy import Policy, builtin_policy, load_policy


def policy_file(given: Path | str | None = None, settings: Settings | None = None) -> Path | None:
    """`given`, else OTEL_RATELIMIT_POLICY, else ./ratelimit.toml if it is there; None for none of them.

    Args:
        given: a file, taken as it is.
        settings: in place of those of the environment.

    Raises:
        SettingsError: a variable is not valid.
    """
    if given is not None:
        return Path(given)
    return (settings or settings_from(os.environ)).policy_file()


def policy_of(file: Path | None) -> Policy:
    """The policy in `file`; the built-in policy for None.

    Raises:
        PolicyError: the file is missing or not valid.
    """
    return builtin_policy() if file is None else load_policy(file)


def named_policy(given: Policy | Path | str | None) -> Policy:
    """The policy that is `given`, or the one in `policy_file`.

    Raises:
        ConfigurationError: the file or a variable is not valid.
    """
    return given if isinstance(given, Policy) else policy_of(policy_file(given))
