"""The output of `report run`: which reports were made, kept, mailed or failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.core.services import named
from otel_ratelimit.reports.rendering import formatting

if TYPE_CHECKING:
    from otel_ratelimit.reports.job_result import JobResult


def say(outcome: JobResult) -> None:
    """For people: successes on standard output, failures on standard error."""
    if outcome.skipped:
        click.echo("another process is making reports; nothing done")
        return
    for made in outcome.made:
        verdict = "would pay" if made.worthwhile else "would not pay"
        click.echo(f"{made.analysis_date}: a cache {verdict}: {made.reason}{_whose(made)}")
    for day in outcome.kept:
        click.echo(f"{day}: the former report is kept, because some of the day's queries have been deleted")
    for why in outcome.unknown:
        click.echo(
            f"no report was made: {why}; `otel-ratelimit report show --so-far` shows today's", err=True
        )
    for day, error in outcome.failed:
        click.echo(f"{day}: Error: {error}", err=True)
    _say_of_mail(outcome)
    if outcome.is_well and not (outcome.made or outcome.kept or outcome.sent):
        click.echo("nothing to do: every full day has a report")


def _whose(made: DailyCacheReport) -> str:
    if not made.services:
        return ""
    count = f"{len(made.services)} services together" if len(made.services) > 1 else "service"
    return f" ({formatting.printable(f'{count}: {named(made.services)}')})"


def _say_of_mail(outcome: JobResult) -> None:
    if outcome.sent is not None:
        click.echo(f"mailed to {', '.join(outcome.sent.accepted)}")
        for rejected in outcome.sent.rejected:
            click.echo(f"not mailed to {rejected.address}: {rejected.said}", err=True)
    if outcome.mail_error is not None:
        click.echo(f"Error: the report is kept, but was not mailed: {outcome.mail_error}", err=True)
    if outcome.mailed_before is not None:
        click.echo(f"not mailed again: it was mailed at {outcome.mailed_before:%Y-%m-%d %H:%M %Z}", err=True)


def outcome_json(outcome: JobResult) -> dict[str, Any]:
    """For machines."""
    sent = outcome.sent
    return {
        "skipped": outcome.skipped,
        "made": [_brief(made) for made in outcome.made],
        "kept": [day.isoformat() for day in outcome.kept],
        "unknown": list(outcome.unknown),
        "failed": [{"date": day.isoformat(), "error": str(error)} for day, error in outcome.failed],
        "mailed_to": list(sent.accepted) if sent is not None else [],
        "not_mailed_to": {each.address: each.said for each in sent.rejected} if sent is not None else {},
        "mail_error": str(outcome.mail_error) if outcome.mail_error is not None else None,
    }


def _brief(made: DailyCacheReport) -> dict[str, Any]:
    return {
        "date": made.analysis_date.isoformat(),
        "worthwhile": made.worthwhile,
        "certainty": made.cost.certainty,
        "reason": made.reason,
        "services": list(made.services),
        "hit_potential": made.hit_potential,
        "recommended_ttl_seconds": made.recommended_ttl_seconds,
    }
