"""`otel-ratelimit policy check`: every mistake in a policy file, and which counters a change resets."""

from __future__ import annotations

from pathlib import Path

import click

from otel_ratelimit.cli.application import load_app, plans_of
from otel_ratelimit.cli.chosen_policy import policy_file, policy_file_argument, policy_of
from otel_ratelimit.cli.output import CommandError
from otel_ratelimit.policy import fresh_between, fresh_counters, policy_hash


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

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml.
    """
    if app_path is not None and former is None:
        raise click.UsageError("--app needs --against OLD")
    path = policy_file(file)
    if path is None:
        raise CommandError("there is no ./ratelimit.toml and OTEL_RATELIMIT_POLICY is not set; name a file")
    read = policy_of(path)
    rules = len(read.routes)
    click.echo(f"{path}: valid; {rules} rule{'' if rules == 1 else 's'}, policy {policy_hash(read)}")
    if former is not None:
        _print_fresh(path, former, app_path)


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
