"""`otel-ratelimit policy check` and `policy show`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from otel_ratelimit.cli.output import fail, print_json, print_table
from otel_ratelimit.errors import ConfigurationError
from otel_ratelimit.policy import Policy, builtin_policy, load_policy, policy_hash
from otel_ratelimit.settings import settings_from

_COLUMNS = ("#", "MATCH", "LIMITS", "KEY", "STRATEGY", "ON ERROR", "SHADOW", "SCOPE", "COST")

BUILT_IN = "the built-in policy"

_file = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group()
def policy() -> None:
    """Check and show policy files."""


@policy.command()
@_file
def check(file: Path | None) -> None:
    """Read a policy file, and name every mistake in it with its line.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml.
    """
    path = _find(file)
    if path is None:
        raise click.UsageError(
            "there is no ./ratelimit.toml and OTEL_RATELIMIT_POLICY is not set: name a file"
        )
    read = _load(path)
    rules = len(read.routes)
    click.echo(f"{path}: valid; {rules} rule{'' if rules == 1 else 's'}, policy {policy_hash(read)}")


@policy.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Show what a policy file comes to, with every default filled in.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml, then the built-in policy.
    """
    path = _find(file)
    read = builtin_policy() if path is None else _load(path)
    if as_json:
        said = read.model_dump(mode="json", by_alias=True)
        print_json({"file": str(path or ""), "hash": policy_hash(read), **said})
        return
    click.echo(f"{path or BUILT_IN} ({policy_hash(read)})\n")
    print_table(("TIER", "LIMITS"), list(read.tiers.items()))
    click.echo()
    print_table(
        ("#", "MATCH", "LIMITS", "KEY", "STRATEGY", "ON ERROR", "SHADOW", "SCOPE", "COST"), _rules(read)
    )
    click.echo(f"\nexempt: {', '.join(read.exempt) or 'nothing'}")
    for client in read.clients:
        effect = "exempt" if client.exempt else f"limits x {client.multiply:g}"
        click.echo(f"client {client.match}: {effect}")
    memory = read.memory
    click.echo(
        f"memory: capacity {memory.capacity:,} B, warning {memory.warning:,} B,"
        f" critical {memory.critical:,} B, cleanup every {memory.cleanup_interval:g} s"
    )
    report = read.report
    click.echo(
        f"report: at {report.at} {report.time_zone}, mailed to {', '.join(report.to) or 'nobody'}"
        + (f" from {report.sender}" if report.sender else "")
    )


def _rules(read: Policy) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            str(index),
            rule.match,
            rule.limits or f"{read.tiers[rule.tier or read.default_tier]} ({rule.tier})",
            rule.key or read.key,
            rule.strategy or read.strategy,
            rule.on_error or read.on_error,
            str(rule.shadow).lower() if isinstance(rule.shadow, bool) else rule.shadow,
            rule.scope,
            str(rule.cost),
        )
        for index, rule in enumerate(read.routes)
    ]
    default = f"{read.tiers[read.default_tier]} ({read.default_tier})"
    rows.append(
        ("-", "everything else", default, read.key, read.strategy, read.on_error, "false", "endpoint", "1")
    )
    return rows


def _find(file: Path | None) -> Path | None:
    if file is not None:
        return file
    try:
        return settings_from(os.environ).policy_file(Path.cwd())
    except ConfigurationError as error:
        fail(error)


def _load(path: Path) -> Policy:
    try:
        return load_policy(path)
    except ConfigurationError as error:
        fail(error)
