"""The geometry of the page's charts in units of their SVG; the templates draw them.

All charts are as wide as half of a page or a whole phone screen, so that their text stays readable on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log
from typing import Final

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.reports.rendering import formatting
from otel_ratelimit.reports.rendering.hit_ratio_tables import has_hits
from otel_ratelimit.reports.rendering.view import MIN_TREND_DAYS, View

WIDTH: Final = 460
_LINES_HEIGHT: Final = 270
_LEFT: Final = 46
_RIGHT: Final = 438
_TOP: Final = 30
_BOTTOM: Final = 236
_TTL_TICKS: Final = (1, 10, 60, 600, 3_600, 14_400, 86_400)
_PERCENT_TICKS: Final = (0, 25, 50, 75, 100)
_ROW: Final = 40
_BAR_WIDEST: Final = 290
_LABEL_CHARACTERS: Final = 60
_MAX_DAY_LABELS: Final = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a line, with its text."""

    x: float
    y: float
    says: str


@dataclass(frozen=True, slots=True)
class Line:
    """A series."""

    name: str
    points: tuple[Point, ...]

    paths: tuple[str, ...]
    """For `polyline`, one for each part between gaps."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A line chart of shares over time or TTL."""

    title: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    band: str = ""
    """For `polygon`; empty where there is none."""
    width: int = WIDTH
    height: int = _LINES_HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a bar chart."""

    y: int
    width: float
    label: str
    value: str
    says: str
    is_benefit: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart with one row below the other."""

    title: str
    description: str
    bars: tuple[Bar, ...]
    is_code: bool
    """Whether labels are queries."""
    width: int = WIDTH

    @property
    def height(self) -> int:
        """The height of all rows."""
        return _ROW * len(self.bars) + 4


def by_ttl(report: DailyCacheReport) -> Lines | None:
    """Hit ratio by TTL with its interval; None where a cache would have answered nothing."""
    found = report.analysis.by_ttl
    if not has_hits(report.analysis):
        return None
    x = _logarithmic(found[0].ttl_seconds, found[-1].ttl_seconds)
    points = tuple(
        Point(
            x(at.ttl_seconds),
            _height(at.hit_ratio),
            f"{formatting.ttl(at.ttl_seconds)}:"
            f" {formatting.share_between(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high)}",
        )
        for at in found
    )
    upper = [(x(at.ttl_seconds), _height(at.hit_ratio_high)) for at in found]
    lower = [(x(at.ttl_seconds), _height(at.hit_ratio_low)) for at in reversed(found)]
    ticks: list[float] = [at for at in _TTL_TICKS if found[0].ttl_seconds <= at <= found[-1].ttl_seconds]
    return Lines(
        title="Hit ratio by TTL",
        description=f"It rises from {points[0].says} to {points[-1].says}.",
        x_ticks=tuple(Tick(x(at), formatting.ttl(at)) for at in ticks or [found[0].ttl_seconds]),
        y_ticks=_percent_ticks(),
        lines=(_line("everything cached", [points]),),
        band=_path([*upper, *lower]),
    )


def saving(view: View) -> Bars | None:
    """The queries to cache first, by the time that saves; None where there are none."""
    return _queries(
        "Saves most",
        [
            (each.rank, each.label, each.saves_ms, f"{each.saves} {view.covered.per}")
            for each in view.to_cache
        ],
    )


def repeating(view: View) -> Bars | None:
    """The queries that are repeated most; None where there are none."""
    return _queries(
        "Repeated most",
        [(each.rank, each.label, each.repeats_count, each.repeats) for each in view.repeated],
    )


def costs(report: DailyCacheReport, view: View) -> Bars | None:
    """The cost of each way to run a cache, and the benefit; None where nothing is worth caching."""
    if not view.costs:
        return None
    amounts = [(row.name, row.money, f"{row.month} a month", False) for row in view.costs]
    if report.supposed.has_value:
        brings = report.cost.monthly_benefit
        month = formatting.money(brings, formatting.printable(report.supposed.currency))
        amounts.append(("What it brings", brings, f"{month} a month", True))
    most = max(amount for _, amount, _, _ in amounts)
    bars = tuple(
        Bar(_ROW * place, _length(amount, most), name, value, f"{name}: {value}", is_benefit)
        for place, (name, amount, value, is_benefit) in enumerate(amounts)
    )
    return Bars("Cost a month", _said(bars), bars, is_code=False)


def over_days(trend: Sequence[DayInBrief]) -> Lines | None:
    """Shares repeated and answered by day, with gaps for days without queries; None for too few days."""
    stretches = [list(days) for asked, days in groupby(trend, lambda day: day.total_queries > 0) if asked]
    if sum(map(len, stretches)) < MIN_TREND_DAYS:
        return None
    first, last = trend[0].analysis_date, trend[-1].analysis_date
    days = max((last - first).days, 1)

    def x(day: DayInBrief) -> float:
        return _across((day.analysis_date - first).days / days)

    def line(name: str, ratio: Callable[[DayInBrief], float]) -> Line:
        def point(day: DayInBrief) -> Point:
            said = f"{day.analysis_date}: {formatting.share(ratio(day))} {name}"
            return Point(x(day), _height(ratio(day)), said)

        return _line(name, [[point(day) for day in stretch] for stretch in stretches])

    step = max(-(-len(trend) // _MAX_DAY_LABELS), 1)
    return Lines(
        title="Repeats and answers by day",
        description=f"From {first} to {last}.",
        x_ticks=tuple(Tick(x(day), f"{day.analysis_date:%m-%d}") for day in trend[::-1][::step]),
        y_ticks=_percent_ticks(),
        lines=(
            line("repeated", lambda day: day.duplicate_percentage / 100.0),
            line("answered", lambda day: day.hit_potential),
        ),
    )


def _line(name: str, stretches: Sequence[Sequence[Point]]) -> Line:
    return Line(
        name,
        tuple(point for stretch in stretches for point in stretch),
        tuple(_path((point.x, point.y) for point in stretch) for stretch in stretches),
    )


def _queries(title: str, rows: Sequence[tuple[int, str, float, str]]) -> Bars | None:
    if not rows:
        return None
    most = max(amount for _, _, amount, _ in rows)
    bars = tuple(
        Bar(
            _ROW * place,
            _length(amount, most),
            formatting.shortened(f"{rank}. {query}", _LABEL_CHARACTERS),
            value,
            f"{rank}. {formatting.shortened(query, 3 * _LABEL_CHARACTERS)}: {value}",
        )
        for place, (rank, query, amount, value) in enumerate(rows)
    )
    return Bars(title, _said(bars), bars, is_code=True)


def _said(bars: Sequence[Bar]) -> str:
    return "; ".join(bar.says for bar in bars)


def _length(amount: float, most: float) -> float:
    return round(_BAR_WIDEST * max(amount, 0.0) / most, 1) if most > 0.0 else 0.0


def _logarithmic(least: float, most: float) -> Callable[[float], float]:
    span = log(most / least)
    return lambda value: _across(log(value / least) / span if span else 0.5)


def _across(part: float) -> float:
    return round(_LEFT + part * (_RIGHT - _LEFT), 1)


def _height(ratio: float) -> float:
    return round(_BOTTOM - min(max(ratio, 0.0), 1.0) * (_BOTTOM - _TOP), 1)


def _percent_ticks() -> tuple[Tick, ...]:
    return tuple(Tick(_height(percent / 100.0), f"{percent} %") for percent in _PERCENT_TICKS)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
