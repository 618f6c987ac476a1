"""The policy that a command works with: the named file, else that of the environment, else the built-in one.

A policy with mistakes ends the command, which prints every problem.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from otel_ratelimit.cli.output import fail
from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.policy import Policy
from otel_ratelimit.runtime import which_policy

policy_file_argument = click.argument("file", required=False, type=click.Path(path_type=Path))


def policy_option(help_text: str) -> Callable[[Any], Any]:
    """`--policy FILE`, the parameter `policy_path`."""
    return click.option("--policy", "policy_path", type=click.Path(path_type=Path), help=help_text)


def policy_file(given: Path | None = None) -> Path | None:
    """`given`, else OTEL_RATELIMIT_POLICY, else ./ratelimit.toml if it is there; None for none of them."""
    try:
        return which_policy.policy_file(given)
    except ConfigurationError as error:
        fail(error)


def policy_of(file: Path | None) -> Policy:
    """The policy in the file; the built-in policy for None."""
    try:
        return which_policy.policy_of(file)
    except ConfigurationError as error:
        fail(error)
