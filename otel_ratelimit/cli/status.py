"""`otel-ratelimit status`: what the limiter of a running application holds, and whom it limited."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import click

from otel_ratelimit.cli.api_client import ApiClient, ApiUnavailableError, Target
from otel_ratelimit.cli.output import fail, print_json, print_table
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.errors import ConfigurationError, RemediableError
from otel_ratelimit.settings import settings_from
from otel_ratelimit.web.api.models import AnalyticsAnswer, MetricsAnswer

DEFAULT_URL: Final = "http://127.0.0.1:8000"
DATE_RANGE: Final = "24h"
_MOST_ROWS: Final = 10
_VARIABLE: Final = "OTEL_RATELIMIT_API_TOKEN"


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the application runs.")
@click.option(
    "--token",
    metavar="TOKEN",
    help=f"A token that may read; default: {_VARIABLE}, where other users cannot see it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(url: str, token: str | None, as_json: bool) -> None:
    """Show memory, counters and health of a running application, and whom it limited in 24 hours.

    Of an application with several worker processes that count for themselves, one of them answers.
    """
    client = ApiClient(_target(url), _token(token))
    analytics: AnalyticsAnswer | None = None
    problem = ""
    try:
        metrics = client.get("/metrics", MetricsAnswer)
        try:
            analytics = client.get("/analytics", AnalyticsAnswer, {"date_range": DATE_RANGE})
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
        click.echo(f"\nWho was limited is not known. {_printable(problem)}")
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
        raise click.UsageError(f"no token is given; set {_VARIABLE} to one of the application's, or --token")
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
        rows.append(("counters", "a store elsewhere does not tell"))
    if metrics.cleanup is not None:
        cleanup = metrics.cleanup
        last = f", last at {_time(cleanup.last_at)}" if cleanup.last_at is not None else ""
        rows.append(("cleanup", f"{cleanup.removed_keys:,} counters removed in {cleanup.runs:,} runs{last}"))
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
        _table((name, "COUNTERS"), [(key, f"{n:,}") for key, n in islice(counts.items(), _MOST_ROWS)])


def _print_analytics(analytics: AnalyticsAnswer) -> None:
    violations, overall = analytics.violations, analytics.hit_rates.overall
    click.echo(
        f"\nIn {DATE_RANGE}: {overall.requests:,} requests, {overall.refused:,} of {overall.limited:,} that"
        f" have limits were refused ({overall.hit_rate:.2%}); {violations.total_violations:,} violations."
    )
    if analytics.top_clients:
        click.echo()
        _table(
            ("CLIENT", "VIOLATIONS", "IN SHADOW", "ENDPOINTS", "LAST"),
            [
                (g.key, f"{g.violations:,}", f"{g.shadow:,}", f"{g.endpoints:,}", _time(g.last_at))
                for g in analytics.top_clients
            ],
        )
    rates = analytics.hit_rates.by_endpoint[:_MOST_ROWS]
    if rates:
        click.echo()
        _table(
            ("ROUTE", "REQUESTS", "REFUSED", "HIT RATE"),
            [(r.endpoint, f"{r.requests:,}", f"{r.refused:,}", f"{r.hit_rate:.2%}") for r in rates],
        )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print_table(columns, [tuple(_printable(cell) for cell in row) for row in rows])


def _printable(text: str) -> str:
    """Without what could steer a terminal: clients choose what users and agents are called."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
