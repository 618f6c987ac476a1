"""`otel-ratelimit routes`: the limits of every route of an application, and the share that is protected."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from flask import Flask
from flask_limiter import Limiter

from otel_ratelimit.cli.application import load_app, rate_limit_for
from otel_ratelimit.cli.chosen_policy import policy_option
from otel_ratelimit.cli.output import CHECK_FAILED, as_json_option, print_json, print_table
from otel_ratelimit.policy import DEFAULT_SOURCE
from otel_ratelimit.runtime.rate_limit import RateLimit, rate_limit_of
from otel_ratelimit.web.application_limits import ApplicationLimit, application_limits
from otel_ratelimit.web.route_plans import OWN_ENDPOINTS, PlannedRoute

PROTECTED = "protected"
SHADOW = "shadow"
EXEMPT = "exempt"


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route and method as it is printed."""

    route: str
    method: str
    endpoint: str
    tier: str
    limits: str
    key: str
    status: str
    source: str
    application: list[str]
    """Limits that the application declared itself: with decorators, or on a Flask-Limiter of its own."""
    problems: list[str]
    """Declared limits that cannot be read."""
    explicit: bool
    """Whether a rule names it or the application declares a limit for it; else only the default tier."""

    @property
    def is_default_only(self) -> bool:
        """Whether nothing but the default tier limits it."""
        return not self.explicit and self.status != EXEMPT


@click.command()
@click.argument("app_path", metavar="MODULE:APP")
@policy_option("Policy file; default: OTEL_RATELIMIT_POLICY or ./ratelimit.toml.")
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Exit with 1 when fewer routes than this are protected.",
)
@click.option(
    "--only-default",
    is_flag=True,
    help="List only the routes that have the default tier alone: no rule and no decorator names them.",
)
@as_json_option
def routes(
    app_path: str, policy_path: Path | None, fail_under: float | None, only_default: bool, as_json: bool
) -> None:
    """List every route, its limits and its key, and the share that is protected.

    MODULE:APP is written as for Flask: `app:app`, `package.module:create_app()`.

    A route is protected when at least one limit is enforced on it. Routes that are exempt on purpose do not
    count; limits that only observe (shadow) do not protect. The routes of `/api/rate-limit/` are left out.

    A route without an explicit limit is protected by the default tier. The last line says how many there are;
    --only-default does not change the figures.
    """
    app = load_app(app_path)
    rate_limit = rate_limit_for(app, policy_path)
    plans = rate_limit.plans(app)
    planned_routes = list(plans.all())
    limiter = _limiter_of(app, rate_limit)
    rows = [
        _row(planned, application_limits(app, limiter, planned.rule.endpoint, planned.method))
        for planned in planned_routes
        if not planned.plan.endpoint.startswith(OWN_ENDPOINTS)
    ]
    known = [(planned.plan.endpoint, planned.method, planned.plan.route) for planned in planned_routes]
    for rule in plans.resolver.unused_rules(known):
        click.echo(f"{rule} decides for no route of this application", err=True)
    for row in rows:
        for problem in row.problems:
            click.echo(f"{row.method} {row.route}: {problem}", err=True)
    rows.sort(key=lambda row: (row.route, row.method))
    share = protected_share(rows)
    listed = [row for row in rows if row.is_default_only] if only_default else rows
    if as_json:
        print_json(
            {
                "routes": [asdict(row) for row in listed],
                "protected_percent": round(share, 2),
                "explicit": sum(row.explicit and row.status != EXEMPT for row in rows),
                "default_only": sum(row.is_default_only for row in rows),
                "exempt": sum(row.status == EXEMPT for row in rows),
            }
        )
    else:
        _print_rows(listed)
        _print_summary(rows, share, only_default=only_default)
    if fail_under is not None and share < fail_under:
        click.echo(f"{share:.1f} % protected is under the {fail_under:g} % asked for:", err=True)
        for row in rows:
            if row.status == SHADOW:
                click.echo(f"  {row.method} {row.route} only observes ({row.source})", err=True)
        sys.exit(CHECK_FAILED)


def protected_share(rows: list[RouteRow]) -> float:
    """Percentage of the rows that are not exempt on which a limit is enforced; 100 if all are exempt."""
    counted = [row for row in rows if row.status != EXEMPT]
    if not counted:
        return 100.0
    return 100.0 * sum(row.status == PROTECTED for row in counted) / len(counted)


def _limiter_of(app: Flask, rate_limit: RateLimit) -> Limiter:
    """Our limiter on which the application declared its limits, also when another policy is shown."""
    return (rate_limit_of(app) or rate_limit).limiter


def _row(planned: PlannedRoute, application: list[ApplicationLimit]) -> RouteRow:
    # A decorator may replace the default tier; for the requests that it leaves out, that tier applies.
    plan = planned.plan.otherwise or planned.plan
    status = EXEMPT if plan.exempt else PROTECTED
    if not plan.exempt and all(window.shadow for window in plan.windows):
        status = SHADOW
    limits = "; ".join(window.text + (" (shadow)" if window.shadow else "") for window in plan.windows)
    return RouteRow(
        route=plan.route,
        method=planned.method,
        endpoint=plan.endpoint,
        tier=plan.tier or "-",
        limits=limits or "-",
        key="-" if plan.exempt else str(plan.key),
        status=status,
        source=plan.source + (", unless a decorator's limit applies" if planned.plan.otherwise else ""),
        application=[str(limit) for limit in application if limit.readable],
        problems=[str(limit) for limit in application if not limit.readable],
        explicit=plan.source != DEFAULT_SOURCE or any(map(_is_explicit, application)),
    )


def _is_explicit(limit: ApplicationLimit) -> bool:
    """Whether it is meant for this route, and not for every route without a limit."""
    return limit.readable and limit.where not in {"default", "application"}


def _print_rows(rows: list[RouteRow]) -> None:
    if not rows:
        return
    heads = ["METHOD", "ROUTE", "TIER", "LIMITS", "KEY", "STATUS", "FROM"]
    cells = [[r.method, r.route, r.tier, r.limits, r.key, r.status, r.source] for r in rows]
    if any(row.application for row in rows):
        heads.append("APPLICATION")
        for row, line in zip(rows, cells, strict=True):
            line.append("; ".join(row.application) or "-")
    print_table(heads, cells)
    click.echo()


def _print_summary(rows: list[RouteRow], share: float, *, only_default: bool) -> None:
    """The figures of all rows, whether or not they are listed."""
    exempt = sum(row.status == EXEMPT for row in rows)
    protected = sum(row.status == PROTECTED for row in rows)
    click.echo(
        f"{protected} of {len(rows) - exempt} protected ({share:.1f} %), {exempt} exempt;"
        " requests that match no route share one bucket."
    )
    without = sum(row.is_default_only for row in rows)
    if not without:
        click.echo("Every route that is not exempt has an explicit limit.")
        return
    them = "it" if without == 1 else "them"
    hint = "" if only_default else f"; --only-default lists {them}"
    click.echo(f"{without} without an explicit limit: the default tier alone covers {them}{hint}.")
