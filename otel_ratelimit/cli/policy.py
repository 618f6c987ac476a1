"""`otel-ratelimit policy check` and `policy show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from otel_ratelimit.cli import policy_show_tables as policy_text
from otel_ratelimit.cli.chosen_policy import policy_file, policy_of
from otel_ratelimit.cli.output import Refusal, print_json, print_table
from otel_ratelimit.cli.routes import load_app, plans_of
from otel_ratelimit.policy import fresh_between, fresh_counters, policy_hash

BUILT_IN = "the built-in policy"

_file = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group()
def policy() -> None:
    """Check and show policy files."""


@policy.command()
@_file
@click.option(
    "--against",
    "former",
    type=click.Path(path_type=Path),
    help="The policy in force: say which limits begin anew when FILE takes its place.",
)
@click.option(
    "--app",
    "app_path",
    metavar="MODULE:APP",
    help="With --against: judge by the routes of this application, not by the rules alone.",
)
def check(file: Path | None, former: Path | None, app_path: str | None) -> None:
    """Read a policy file, and name every mistake in it with its line.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml.
    """
    if app_path is not None and former is None:
        raise click.UsageError("--app is for --against OLD")
    path = policy_file(file)
    if path is None:
        raise Refusal("there is no ./ratelimit.toml and OTEL_RATELIMIT_POLICY is not set: name a file")
    read = policy_of(path)
    rules = len(read.routes)
    click.echo(f"{path}: valid; {rules} rule{'' if rules == 1 else 's'}, policy {policy_hash(read)}")
    if former is not None:
        _print_fresh(path, former, app_path)


def _print_fresh(path: Path, former: Path, app_path: str | None) -> None:
    """Which limits begin anew when `path` takes the place of `former`."""
    before, after = policy_of(former), policy_of(path)
    if app_path is None:
        fresh = fresh_between(before, after)
    else:
        app = load_app(app_path)
        fresh = fresh_counters(plans_of(app, former).governing(), plans_of(app, path).governing())
    if not fresh:
        click.echo(f"against {former}: all counters stay")
        return
    count = "1 limit begins" if len(fresh) == 1 else f"{len(fresh)} limits begin"
    click.echo(f"against {former}: {count} anew, and clients have that much once more")
    for counter in fresh:
        click.echo(f"  {counter}")


@policy.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Show what a policy file comes to: every key, the defaults filled in and marked as such.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml, then the built-in policy.
    """
    path = policy_file(file)
    read = policy_of(path)
    if as_json:
        said = read.model_dump(mode="json", by_alias=True)
        print_json({"file": str(path or ""), "hash": policy_hash(read), "given": read.given(), **said})
        return
    click.echo(f"{path or BUILT_IN} ({policy_hash(read)})\n")
    print_table(("TIER", "LIMITS", "FROM"), policy_text.tiers(read))
    click.echo()
    print_table(policy_text.RULE_COLUMNS, policy_text.rules(read))
    if read.routes:
        click.echo(f"{policy_text.NOT_IN_RULE} not in the rule: the default, of the file or built in")
    click.echo()
    print_table(("KEY", "VALUE", "FROM"), list(_setting_rows(policy_text.sections(read))))
    if not read.cache.prices:
        click.echo("\ncache.prices: the built-in ones")


def _setting_rows(found: Iterable[policy_text.Section]) -> Iterator[tuple[str, str, str]]:
    for section in found:
        if section.title:
            yield "", "", ""
            yield section.title, "", ""
        for each in section.settings:
            yield each.key, each.value, each.source
