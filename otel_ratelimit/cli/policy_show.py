"""`otel-ratelimit policy show`: every key of a policy with its value and where that comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from otel_ratelimit.cli.chosen_policy import policy_file, policy_file_argument, policy_of
from otel_ratelimit.cli.output import as_json_option, print_json, print_table
from otel_ratelimit.cli.policy_show_tables import (
    NOT_IN_RULE,
    RULE_COLUMNS,
    Section,
    rule_rows,
    sections,
    tier_rows,
)
from otel_ratelimit.policy import policy_hash

BUILT_IN = "the built-in policy"


@click.command()
@policy_file_argument
@as_json_option
def show(file: Path | None, as_json: bool) -> None:
    """Show every key of a policy file with its value; defaults are filled in and marked.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml, then the built-in policy.
    """
    path = policy_file(file)
    read = policy_of(path)
    if as_json:
        said = read.model_dump(mode="json", by_alias=True)
        print_json({"file": str(path or ""), "hash": policy_hash(read), "given": read.given(), **said})
        return
    click.echo(f"{path or BUILT_IN} ({policy_hash(read)})\n")
    print_table(("TIER", "LIMITS", "FROM"), tier_rows(read))
    click.echo()
    print_table(RULE_COLUMNS, rule_rows(read))
    if read.routes:
        click.echo(f"{NOT_IN_RULE} not in the rule: the default of the file, or the built-in one")
    click.echo()
    print_table(("KEY", "VALUE", "FROM"), list(_setting_rows(sections(read))))
    if not read.cache.prices:
        click.echo("\ncache.prices: the built-in ones")


def _setting_rows(found: Iterable[Section]) -> Iterator[tuple[str, str, str]]:
    for section in found:
        if section.title:
            yield "", "", ""
            yield section.title, "", ""
        for each in section.settings:
            yield each.key, each.value, each.source
