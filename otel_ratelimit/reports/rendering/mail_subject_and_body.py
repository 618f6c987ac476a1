"""The report as a mail: subject, plain text, and HTML that mail clients can show.

Mail clients drop style sheets, scripts and images from elsewhere, and some invert colours in dark mode. So
the HTML is tables with inline styles; text has a colour of its own only where its background has one, too.
Gmail cuts messages off at about 102 kB: queries are shortened; the page and the terminal show all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.reports.rendering import formatting, plain_text
from otel_ratelimit.reports.rendering.hit_ratio import expected_hit_ratio
from otel_ratelimit.reports.rendering.jinja_templates import template
from otel_ratelimit.reports.rendering.query_entries import Repeated, ToCache
from otel_ratelimit.reports.rendering.verdict import how_sure_in_short
from otel_ratelimit.reports.rendering.view import TrendRow, View, view_of

MAX_QUERY_CHARACTERS: Final = 240
DAYS_SHOWN: Final = 7
_SOURCE_CHARACTERS: Final = 40
_TTL_COLUMNS: Final = ("TTL", "hit ratio", "if dropped", "stale", "memory", "saves")
_TREND_COLUMNS: Final = ("day", "cacheable", "repeated", "answered", "TTL", "memory", "cost a month", "pays")


def subject(report: DailyCacheReport, source: str) -> str:
    """One line with the answer first.

    Args:
        report: of a day.
        source: what the report is about, for instance the service's name; may be empty.
    """
    of = formatting.shortened(formatting.printable(source), _SOURCE_CHARACTERS)
    start = f"Cache for {of}" if of else "Cache"
    answer = "yes" if report.worthwhile else "no"
    day = report.analysis_date.isoformat()
    return f"{start}: {answer}, {how_sure_in_short(report)}; {_in_short(report)} ({day})"


def mail_text(report: DailyCacheReport, trend: Sequence[DayInBrief]) -> str:
    """Plain text in lines of at most 78 characters.

    Args:
        report: of a day.
        trend: days, the earliest first; a trend is shown of two or more.
    """
    view = view_of(report, trend)
    lines = [
        *_opening(view),
        *_queries("To cache first", [_to_cache_lines(each) for each in view.to_cache]),
        *_queries(view.repeated_title, [_repeated_lines(each) for each in view.repeated]),
        *_by_ttl(view),
        *_surface(view),
        *_not_cacheable(view),
        *_costs(view),
        *_comparison(view),
        *_trend(view),
        *plain_text.heading("Assumptions"),
        *plain_text.labelled_figures(view.assumptions),
        *plain_text.heading("What the figures rest on"),
        *plain_text.labelled_figures(view.sample_figures),
    ]
    return "\n".join(lines) + "\n"


def mail_html(report: DailyCacheReport, trend: Sequence[DayInBrief]) -> str:
    """The same as an HTML document that loads nothing from elsewhere.

    Args:
        report: of a day.
        trend: days, the earliest first; a trend is shown of two or more.
    """
    view = view_of(report, trend)
    return template("mail.html").render(
        view=view,
        trend=_last(view),
        short=lambda query: formatting.shortened(query, MAX_QUERY_CHARACTERS),
    )


def _in_short(report: DailyCacheReport) -> str:
    plan = report.analysis.plan
    if plan is None:
        return formatting.printable(report.reason)
    if not report.worthwhile and report.supposed.has_value:
        brings, costs = report.cost.monthly_benefit, report.cost.monthly_cost
        currency = formatting.printable(report.supposed.currency)
        return (
            f"brings {formatting.money(brings, currency)} a month, costs {formatting.money(costs, currency)}"
        )
    ratio = expected_hit_ratio(report.analysis, plan.at).value
    return f"hit ratio {formatting.share(ratio)}, TTL {formatting.ttl(plan.at.ttl_seconds)}"


def _opening(view: View) -> list[str]:
    verdict = view.verdict
    title = f"Cache report of {view.day} ({view.time_zone})"
    lines = [
        *plain_text.paragraph(title),
        "=" * min(len(title), plain_text.WIDTH),
        "",
        *plain_text.paragraph(f"{verdict.answer.upper()} {verdict.headline}"),
        *plain_text.paragraph(verdict.why),
        *plain_text.paragraph(verdict.how_sure),
        *plain_text.paragraph(verdict.covered),
        *plain_text.paragraph(verdict.to_do),
        "",
    ]
    return lines + plain_text.labelled_figures(view.key_figures)


def _queries(title: str, entries: Sequence[Sequence[str]]) -> list[str]:
    if not entries:
        return []
    lines = plain_text.heading(title)
    for place, entry in enumerate(entries):
        lines += [*([""] if place else []), *entry]
    return lines


def _to_cache_lines(each: ToCache) -> list[str]:
    return plain_text.numbered(each.rank, _short(each.label), [each.says + ".", each.why, each.note])


def _repeated_lines(each: Repeated) -> list[str]:
    return plain_text.numbered(each.rank, _short(each.label), [each.says + ".", each.caching, each.note])


def _short(query: str) -> str:
    return formatting.shortened(query, MAX_QUERY_CHARACTERS)


def _by_ttl(view: View) -> list[str]:
    if not view.by_ttl:
        return []
    rows = [(row.ttl, row.hit_ratio, row.dropped, row.stale, row.memory, row.saves) for row in view.by_ttl]
    return [
        *plain_text.heading("Hit ratio by TTL"),
        *plain_text.paragraph(
            "If every query that a cache could answer went through it. 'If dropped': the hit ratio that is"
            " left if each write drops the whole table, or one entry of each query. 'Stale': at most this"
            " share is older than a write, if writes drop nothing."
        ),
        "",
        *plain_text.table(_TTL_COLUMNS, rows),
    ]


def _surface(view: View) -> list[str]:
    if view.surface is None:
        return []
    rows = [(ttl, *(cell.text for cell in cells)) for ttl, cells in view.surface.rows]
    return [
        *plain_text.heading("Hit ratio by TTL and memory"),
        *plain_text.table(("TTL", *view.surface.memories), rows),
    ]


def _not_cacheable(view: View) -> list[str]:
    if not view.not_cacheable:
        return []
    lines = plain_text.heading("What no cache can answer")
    for row in view.not_cacheable:
        lines += plain_text.paragraph(f"{row.share} ({row.executions}): it {row.why}")
        lines += plain_text.paragraph(_short(row.example), "    ")
    return lines


def _costs(view: View) -> list[str]:
    if not view.costs:
        return []
    rows = [(row.name, row.month) for row in view.costs]
    return [*plain_text.heading("What it would cost"), *plain_text.table(("", "a month"), rows)]


def _comparison(view: View) -> list[str]:
    if view.comparison is None:
        return []
    rows = [(row.name, row.without_cache, row.with_cache, row.difference) for row in view.comparison.rows]
    return [
        *plain_text.heading("With and without a cache"),
        *plain_text.paragraph(view.comparison.says),
        "",
        *plain_text.table(("", "without", "with", "difference"), rows),
    ]


def _trend(view: View) -> list[str]:
    if not view.trend:
        return []
    rows = [
        (row.day, row.cacheable, row.repeats, row.answered, row.ttl, row.memory, row.cost, row.pays)
        for row in _last(view)
    ]
    return [*plain_text.heading("The last days"), *plain_text.table(_TREND_COLUMNS, rows)]


def _last(view: View) -> tuple[TrendRow, ...]:
    return view.trend[-DAYS_SHOWN:]
