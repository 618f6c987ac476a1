"""`otel-ratelimit policy suggest`: a first policy file from what was recorded."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from otel_ratelimit.analytics.policy_suggestion import suggest as suggest_limits
from otel_ratelimit.analytics.reader import Excess, LimitUse, Scope
from otel_ratelimit.analytics.recommended_limits import MAX_REJECTED_SHARE, Candidate
from otel_ratelimit.cli.chosen_database import chosen_database, database_url_option
from otel_ratelimit.cli.chosen_policy import policy_file, policy_of, policy_option
from otel_ratelimit.cli.output import CHECK_FAILED, CommandError, as_json_option, fail, print_json
from otel_ratelimit.cli.policy_suggest_comments import span
from otel_ratelimit.cli.policy_suggest_file import (
    SuggestedPolicy,
    known_tiers,
    policy_text,
    shown,
    suggested_policy,
)
from otel_ratelimit.core.errors import ConfigurationError, DatabaseError
from otel_ratelimit.core.periods import Period, parse_date_range
from otel_ratelimit.core.sentences import counted
from otel_ratelimit.core.services import (
    ServicesRead,
    SeveralServicesError,
    UnknownServiceError,
    services_read,
)
from otel_ratelimit.policy import Policy, parse_policy
from otel_ratelimit.postgres.analytics_reader import PostgresAnalytics
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.storage.key_namespace import service_of

STATEMENT_SECONDS = 60.0


def _period(_context: click.Context, _parameter: click.Parameter, text: str) -> Period:
    try:
        return parse_date_range(text, datetime.now(UTC))
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


@click.command()
@click.option(
    "--date-range",
    "period",
    callback=_period,
    default="7d",
    show_default=True,
    help="24h, 7d, 2026-01-31 or 2026-01-01/2026-01-31 (UTC).",
)
@click.option(
    "--max-rejected-share",
    "share",
    type=click.FloatRange(0, 1, max_open=True),
    default=MAX_REJECTED_SHARE,
    show_default=True,
    help="The share of client windows that a limit may refuse.",
)
@policy_option(
    "Policy to build on; default: OTEL_RATELIMIT_POLICY or ./ratelimit.toml, then the built-in one."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write to this file, which must not exist yet."
)
@click.option("--force", is_flag=True, help="Replace that file if it exists.")
@click.option(
    "--service",
    metavar="NAME",
    help="The service whose requests count; default: the only one recorded, else OTEL_SERVICE_NAME.",
)
@database_url_option
@as_json_option
def suggest(
    *,
    period: Period,
    share: float,
    policy_path: Path | None,
    output: Path | None,
    force: bool,
    service: str | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Write a policy from the requests that were recorded, with the evidence beside each rule.

    Endpoints with similar traffic share a tier. Endpoints with too few requests keep the default tier. Other
    settings of the present policy, such as clients and memory, are kept.

    A policy is for one service: if several record to the database, name it. Exit status 1 if nothing was
    recorded, 2 if the service has to be named.
    """
    if output is not None and output.exists() and not force:
        raise CommandError(f"{output} exists; name another file, or replace it with --force")
    policy = _present(policy_path)
    seen = _seen(database_url, period, service)
    suggestion = suggest_limits(
        seen.uses, seen.excess, max_rejected_share=share, known_tiers=known_tiers(policy)
    )
    if not suggestion.routes and not suggestion.undecided:
        of = f" of the service {shown(seen.of.service)}" if seen.of.service is not None else ""
        click.echo(f"nothing was recorded{of}, {span(period)}, so nothing can be suggested", err=True)
        sys.exit(CHECK_FAILED)
    suggested = suggested_policy(suggestion, policy)
    text = policy_text(
        suggested, policy, period, share, service=shown(seen.of.service) if seen.of.service else None
    )
    _check(text)
    if output is not None:
        _write(output, text, force=force)
    if as_json:
        print_json(_as_json(suggested, seen.of, period, text))
    elif output is None:
        click.echo(text, nl=False)
    _summarise(suggested, seen.of, period, output)


def _present(path: Path | None) -> Policy:
    file = policy_file(path)
    # `policy suggest > ratelimit.toml`: the shell has just made that file.
    is_new = path is None and file is not None and file.is_file() and file.stat().st_size == 0
    return policy_of(None if is_new else file)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The evidence, and the service that it is from."""

    of: ServicesRead
    uses: list[LimitUse]
    excess: list[Excess]


def _seen(database_url: str | None, period: Period, service: str | None) -> _Seen:
    try:
        with chosen_database(database_url) as url:
            database = Database(url, statement_seconds=STATEMENT_SECONDS)
            try:
                reader = PostgresAnalytics(database)
                of = services_read(reader, period, service, service_of(os.environ).name)
                if of.is_mixed:
                    raise SeveralServicesError(
                        of.services, "a policy is for one of them", "name it with --service NAME"
                    )
                scope = Scope(service=of.service)
                return _Seen(of, reader.limits(period, scope), reader.excess(period, scope))
            finally:
                database.close()
    except (SeveralServicesError, UnknownServiceError) as error:
        raise CommandError(shown(str(error))) from None
    except DatabaseError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(CHECK_FAILED)


def _check(text: str) -> None:
    """End the command unless the text is a valid policy, whatever routes and the present policy contain."""
    try:
        parse_policy(text, "the suggestion")
    except ConfigurationError as error:
        fail(error)


def _write(output: Path, text: str, *, force: bool) -> None:
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        click.echo(f"Error: {output} cannot be written: {error.strerror}", err=True)
        sys.exit(CHECK_FAILED)


def _as_json(suggested: SuggestedPolicy, of: ServicesRead, period: Period, text: str) -> dict[str, Any]:
    return {
        "service": of.service,
        "services": list(of.services),
        "period": {"start": period.start.isoformat(), "end": period.end.isoformat()},
        "tiers": suggested.tiers,
        "routes": [
            {
                "match": rule.match,
                "tier": rule.tier,
                "evidence": [
                    {
                        "method": method,
                        "limit": seen.recommendation.limit_text,
                        "recommended": _recommended(seen.recommendation.recommended),
                        "requests": seen.recommendation.requests,
                        "client_windows": seen.recommendation.client_windows,
                        "p99_units": seen.p99_units,
                        "reason": seen.recommendation.reason,
                    }
                    for method, seen in rule.evidence
                ],
            }
            for rule in suggested.rules
        ],
        "undecided": [asdict(left) for left in suggested.undecided],
        "lost": [asdict(rule) for rule in suggested.lost],
        "policy": text,
    }


def _recommended(candidate: Candidate | None) -> dict[str, Any] | None:
    return None if candidate is None else asdict(candidate)


def _summarise(suggested: SuggestedPolicy, of: ServicesRead, period: Period, output: Path | None) -> None:
    requests, routes = suggested.seen
    who = shown(of.sentence("--service NAME"))
    click.echo(
        f"{counted(requests, 'request')} to {counted(routes, 'route')}, {span(period)}"
        + (f" ({who})" if who else ""),
        err=True,
    )
    left, lost = len(suggested.undecided), len(suggested.lost)
    keep = "keeps" if left == 1 else "keep"
    are = "is" if lost == 1 else "are"
    click.echo(
        f"{counted(len(suggested.rules), 'rule')}, {counted(len(suggested.tiers), 'tier')}"
        + (f"; {counted(left, 'route')} {keep} the default tier, see the end for why" if left else "")
        + (
            f"; {counted(lost, 'rule')} of the present policy {are} not carried over, see the end"
            if lost
            else ""
        )
        + (f"; written to {shown(str(output))}" if output is not None else ""),
        err=True,
    )
