"""`otel-ratelimit policy check`: every mistake in a policy file, and which counters a change resets."""

from __future__ import annotations

import os
from pathlib import Path

import click

from otel_ratelimit.cli.application import load_app, plans_of
from otel_ratelimit.cli.chosen_policy import policy_file, policy_file_argument, policy_of
from otel_ratelimit.cli.output import CommandError, fail
from otel_ratelimit.core.errors import ConfigurationError, SettingsError
from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.policy import Policy, fresh_between, fresh_counters, policy_hash
from otel_ratelimit.runtime.default_storage import why_not_shared
from otel_ratelimit.storage import validate_uri
from otel_ratelimit.storage.store_strategies import strategy_problems


@click.command()
@policy_file_argument
@click.option(
    "--against",
    "former",
    type=click.Path(path_type=Path),
    help="The policy in force: list the limits that start from zero when FILE replaces it.",
)
@click.option(
    "--app",
    "app_path",
    metavar="MODULE:APP",
    help="With --against: compare the routes of this application, not only the rules.",
)
def check(file: Path | None, former: Path | None, app_path: str | None) -> None:
    """Read a policy file, and print every mistake with its line.

    If OTEL_RATELIMIT_STORAGE_URI is set, its store must support the policy's strategies.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml.
    """
    if app_path is not None and former is None:
        raise click.UsageError("--app needs --against OLD")
    path = policy_file(file)
    if path is None:
        raise CommandError("there is no ./ratelimit.toml and OTEL_RATELIMIT_POLICY is not set; name a file")
    read = policy_of(path)
    rules = len(read.routes)
    note = _note_on_store(read)
    click.echo(f"{path}: valid; {rules} rule{'' if rules == 1 else 's'}, policy {policy_hash(read)}")
    if note:
        click.echo(f"note: {note}")
    if former is not None:
        _print_fresh(path, former, app_path)


def _note_on_store(policy: Policy) -> str:
    """The consequence of the store of this environment; ends the command if it cannot enforce the policy."""
    try:
        settings = settings_from(os.environ)
    except ConfigurationError:
        return ""  # `otel-ratelimit doctor` reports it; this command is about the policy
    if not settings.names_storage:
        return why_not_shared(policy.strategies)
    uri = settings.storage_uri
    problems = validate_uri(uri) or strategy_problems(uri, policy.strategies)
    if problems:
        fail(SettingsError(problems))
    return ""


def _print_fresh(path: Path, former: Path, app_path: str | None) -> None:
    """Print the limits that start from zero when `path` replaces `former`."""
    before, after = policy_of(former), policy_of(path)
    if app_path is None:
        fresh = fresh_between(before, after)
    else:
        app = load_app(app_path)
        fresh = fresh_counters(plans_of(app, former).governing(), plans_of(app, path).governing())
    if not fresh:
        click.echo(f"against {former}: all counters are kept")
        return
    count = "1 limit starts" if len(fresh) == 1 else f"{len(fresh)} limits start"
    click.echo(f"against {former}: {count} from zero, so clients can use that much again")
    for counter in fresh:
        click.echo(f"  {counter}")
