"""The report as a self-contained HTML document: no script, and nothing loaded from elsewhere.

Colours are classes and no style attributes, so that a Content-Security-Policy can allow the one style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.reports.rendering import charts, formatting
from otel_ratelimit.reports.rendering.jinja_templates import template
from otel_ratelimit.reports.rendering.view import view_of

MAX_QUERY_CHARACTERS: Final = 160
"""Longer ones are folded, and open on a click."""


def page(report: DailyCacheReport, trend: Sequence[DayInBrief]) -> str:
    """The document.

    Args:
        report: of a day.
        trend: days, the earliest first; a trend is shown of two or more.
    """
    view = view_of(report, trend)
    return template("page.html").render(
        view=view,
        by_ttl=charts.by_ttl(report),
        saving=charts.saving(view),
        repeating=charts.repeating(view),
        costs=charts.costs(report, view),
        over_days=charts.over_days(trend),
        most=MAX_QUERY_CHARACTERS,
        short=lambda query: formatting.shortened(query, MAX_QUERY_CHARACTERS),
    )
