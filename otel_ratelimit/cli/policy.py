"""`otel-ratelimit policy`: the group of `check`, `show` and `suggest`."""

from __future__ import annotations

import click

from otel_ratelimit.cli.policy_check import check
from otel_ratelimit.cli.policy_show import show
from otel_ratelimit.cli.policy_suggest import suggest


@click.group()
def policy() -> None:
    """Check, show and suggest policy files."""


policy.add_command(check)
policy.add_command(show)
policy.add_command(suggest)
