"""`otel-ratelimit policy check` and `policy show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from otel_ratelimit.cli.output import print_json, print_table
from otel_ratelimit.cli.policy_file import policy_file, policy_of
from otel_ratelimit.cli.routes import load_app, plans_of
from otel_ratelimit.policy import Cache, CachePrice, Policy, fresh_between, fresh_counters, policy_hash

_COLUMNS = ("#", "MATCH", "LIMITS", "KEY", "STRATEGY", "ON ERROR", "SHADOW", "SCOPE", "COST")

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
        raise click.UsageError(
            "there is no ./ratelimit.toml and OTEL_RATELIMIT_POLICY is not set: name a file"
        )
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
    """Show what a policy file comes to, with every default filled in.

    FILE defaults to OTEL_RATELIMIT_POLICY, then ./ratelimit.toml, then the built-in policy.
    """
    path = policy_file(file)
    read = policy_of(path)
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
    for line in _cache_lines(read.cache):
        click.echo(line)
    responses = read.responses
    revision = "not written" if responses.draft == "none" else f"of draft {responses.draft}"
    click.echo(
        f"responses: RateLimit headers {revision},"
        f" X-RateLimit headers {'written' if responses.x_headers else 'not written'}"
    )
    report = read.report
    click.echo(
        f"report: at {report.at} {report.time_zone}, mailed to {', '.join(report.to) or 'nobody'}"
        + (f" from {report.sender}" if report.sender else "")
    )


def _cache_lines(cache: Cache) -> Iterator[str]:
    yield (
        f"cache: {cache.engine} with {cache.allocator}, keys of {cache.key_bytes:,} B,"
        f" values x {_number(cache.size_factor)}, lookup {_number(cache.lookup_milliseconds)} ms,"
        f" store {_number(cache.store_milliseconds)} ms, at most {_number(100 * cache.stale_share)} % stale,"
        f" {_number(100 * cache.reserve)} % of memory free"
    )
    yield (
        f"cache value: {_number(cache.value_of_saved_millisecond)} {cache.currency} for a millisecond saved,"
        f" {_number(cache.value_of_database_second)} {cache.currency} for a second of the database"
    )
    if not cache.prices:
        yield "cache prices: the built-in ones"
    for price in cache.prices:
        yield f"cache price {price.name}: {', '.join(_price_parts(price, cache.currency))}"


def _price_parts(price: CachePrice, currency: str) -> Iterator[str]:
    yield price.kind
    if price.memory:
        yield f"{price.memory:,} B"
    for money, what in (
        (price.month, "a month"),
        (price.gb_hour, "for a GB-hour"),
        (price.million_requests, "for a million requests"),
    ):
        if money:
            yield f"{_number(money)} {currency} {what}"
    if price.least_memory:
        yield f"at least {price.least_memory:,} B"
    if price.as_of is not None:
        yield f"as of {price.as_of}"


def _number(value: float) -> str:
    return f"{value:.12g}"


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
