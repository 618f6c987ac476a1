"""`otel-ratelimit status`: memory, counters and health of a running application, and whom it limited."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import click

from otel_ratelimit.cli.output import CommandError, as_json_option, fail, print_json, print_table
from otel_ratelimit.cli.status_api_client import ApiClient, ApiUnavailableError, Target
from otel_ratelimit.core.errors import ConfigurationError, RemediableError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.sentences import counted, part_of, percent
from otel_ratelimit.core.services import ServicesRead
from otel_ratelimit.core.settings import settings_from
from otel_ratelimit.web.api.analytics_models import AnalyticsAnswer, HitRateAnswer
from otel_ratelimit.web.api.metrics_models import MetricsAnswer

DEFAULT_URL: Final = "http://127.0.0.1:8000"
DATE_RANGE: Final = "24h"
_MAX_ROWS: Final = 10
_VARIABLE: Final = "OTEL_RATELIMIT_API_TOKEN"


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the application runs.")
@click.option(
    "--token",
    metavar="TOKEN",
    help=f"A token with read access; default: {_VARIABLE}, which other users cannot see.",
)
@click.option(
    "--service",
    metavar="NAME",
    help="The service whose limited clients are shown; * for all in the database. Default: this application.",
)
@as_json_option
def status(url: str, token: str | None, service: str | None, as_json: bool) -> None:
    """Show memory, counters and health of a running application, and whom it limited in 24 hours.

    If the application has several worker processes with counters of their own, one of them answers.
    """
    asked = {"date_range": DATE_RANGE} | ({} if service is None else {"service": service})
    client = ApiClient(_target(url), _token(token))
    analytics: AnalyticsAnswer | None = None
    problem = ""
    try:
        metrics = client.get("/metrics", MetricsAnswer)
        try:
            analytics = client.get("/analytics", AnalyticsAnswer, asked)
        except ApiUnavailableError as unavailable:
            problem = unavailable.what
    except RemediableError as error:
        click.echo(f"Error: {_printable(error.what)}\nWhat to do: {error.remedy}", err=True)
        sys.exit(error.exit_status)
    if as_json:
        found = None if analytics is None else analytics.model_dump(mode="json")
        print_json(
            {
                "metrics": metrics.model_dump(mode="json"),
                "analytics": found,
                "analytics_problem": problem or None,
            }
        )
        return
    _print_metrics(metrics)
    if analytics is None:
        click.echo(f"\nIt is not known who was limited: {_printable(problem)}")
    else:
        _print_analytics(analytics)


def _target(url: str) -> Target:
    try:
        return Target.parse(url)
    except ValueError as wrong:
        raise click.BadParameter(str(wrong), param_hint="--url") from None


def _token(given: str | None) -> Secret:
    try:
        tokens = settings_from(os.environ, {"api_token": given}).read_tokens
    except ConfigurationError as error:
        fail(error)
    if not tokens:
        raise CommandError(
            f"no token is given; set {_VARIABLE} to a token of the application, or use --token"
        )
    return tokens[0]


def _print_metrics(metrics: MetricsAnswer) -> None:
    storage, memory, keys = metrics.storage, metrics.memory, metrics.keys
    rows = [
        ("process", f"{metrics.process_id}, at {_time(metrics.at)}"),
        ("store", f"{storage.name}, {'healthy' if storage.healthy else 'DOES NOT ANSWER'}"),
    ]
    if memory is not None:
        rows.append(("memory", f"{memory.status}: {memory.message}"))
    if keys is not None:
        rows.append(("counters", f"{keys.active:,}, overflows {keys.overflows:,}"))
    if memory is None or keys is None:
        rows.append(("counters", "not known: a remote store does not report them"))
    if metrics.cleanup is not None:
        cleanup = metrics.cleanup
        last = f", last at {_time(cleanup.last_at)}" if cleanup.last_at is not None else ""
        done = f"{counted(cleanup.removed_keys, 'counter')} removed in {counted(cleanup.runs, 'run')}{last}"
        rows.append(("cleanup", done if cleanup.runs else "has not run yet"))
    recorder = metrics.recorder
    if recorder is None:
        rows.append(("recorder", "off"))
    else:
        health = "writes" if recorder.healthy else "CANNOT WRITE"
        counts = f"{recorder.recorded:,} recorded, {recorder.pending:,} pending, {recorder.dropped:,} dropped"
        rows.append(("recorder", f"{health}: {counts}"))
    _table(("WHAT", "NOW"), rows)
    if keys is not None:
        _counts("FLASK ENDPOINT", keys.by_endpoint)
        _counts("COUNTED BY", keys.by_client_kind)
        _counts("USER", {user or "(none)": number for user, number in keys.by_user.items()})


def _counts(name: str, counts: Mapping[str, int]) -> None:
    if counts:
        click.echo()
        _table((name, "COUNTERS"), [(key, f"{n:,}") for key, n in islice(counts.items(), _MAX_ROWS)])


def _print_analytics(analytics: AnalyticsAnswer) -> None:
    who = _printable(_services_read(analytics).sentence("--service NAME"))
    click.echo(f"\nIn {DATE_RANGE}{f' ({who})' if who else ''}: {_in_short(analytics)}.")
    if analytics.top_clients:
        click.echo()
        _table(
            ("CLIENT", "VIOLATIONS", "IN SHADOW", "ENDPOINTS", "LAST"),
            [
                (g.key, f"{g.violations:,}", f"{g.shadow:,}", f"{g.endpoints:,}", _time(g.last_at))
                for g in analytics.top_clients
            ],
        )
    rates = analytics.hit_rates.by_endpoint[:_MAX_ROWS]
    if rates:
        click.echo()
        _table(
            ("ROUTE", "REQUESTS", "REFUSED", "HIT RATE"),
            [(r.endpoint, f"{r.requests:,}", f"{r.refused:,}", _share(r)) for r in rates],
        )


def _share(rate: HitRateAnswer) -> str:
    return percent(rate.hit_rate) if rate.limited else "-"


def _in_short(analytics: AnalyticsAnswer) -> str:
    overall, violations = analytics.hit_rates.overall, analytics.violations.total_violations
    if not overall.requests:
        return f"no requests, {_violations(violations, 0)}"
    requests = counted(overall.requests, "request")
    if not overall.limited:
        return f"{requests}, none of them checked against a limit; {_violations(violations, 0)}"
    if not overall.refused:
        none = f"none of {counted(overall.limited, 'request')}"
        return f"{requests}; limits refused {none}; {_violations(violations, 0)}"
    refused = part_of(overall.refused, overall.limited, "request")
    return (
        f"{requests}; limits refused, or in shadow would have refused, {refused};"
        f" {_violations(violations, overall.refused)}"
    )


def _violations(recorded: int, refused: int) -> str:
    """How many violations were recorded; if they are more than the refusals, where the others come from."""
    said = counted(recorded, "violation")
    return said if recorded <= refused else f"{said}, including those from log_rate_limit_violation"


def _services_read(analytics: AnalyticsAnswer) -> ServicesRead:
    # An application with an earlier version names no services.
    named = () if analytics.service is None else (analytics.service,)
    return ServicesRead(analytics.service, tuple(analytics.services) or named)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print_table(columns, [tuple(_printable(cell) for cell in row) for row in rows])


def _printable(text: str) -> str:
    """The text without control characters for terminals: clients choose the names of users and agents."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
