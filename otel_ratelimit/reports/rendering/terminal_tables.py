"""The cache report in a terminal: nothing is cut off, however narrow it is, and queries are never markup."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from otel_ratelimit.cache_advice.daily_report import DailyCacheReport
from otel_ratelimit.cache_advice.stored_reports import DayInBrief
from otel_ratelimit.reports.rendering import text_layout
from otel_ratelimit.reports.rendering.labelled_figures import LabelledFigure
from otel_ratelimit.reports.rendering.query_entries import Repeated
from otel_ratelimit.reports.rendering.view import TrendRow, View, view_of

PIPE_WIDTH: Final = 100
"""Width of a pipe, unless COLUMNS is set; wide enough for every table, and for the screen that shows it."""
DAYS_SHOWN: Final = 14
_NOTES_BESIDE_FROM: Final = 76
"""Columns of a terminal that has room for notes beside their figures."""
_LEAST_FOR_NOTES: Final = 20
_INDENT: Final = 4
_TREND_COLUMNS: Final = (
    "DAY",
    "CACHEABLE",
    "REPEATED",
    "ANSWERED",
    "TTL",
    "MEMORY",
    "SAVES A DAY",
    "COST A MONTH",
    "PAYS",
)


def print_report(
    report: DailyCacheReport, trend: Sequence[DayInBrief], console: Console | None = None
) -> None:
    """Print the report: the answer first, then what to do, then what it rests on.

    Args:
        report: of a day.
        trend: days, the earliest first; a trend is shown of two or more.
        console: where to; default: standard output.
    """
    view = view_of(report, trend)
    printer = _Printer(console or _standard_output())
    _print_summary(printer, view)
    _print_queries(printer, view)
    _print_ratios(printer, view)
    _print_rest(printer, view)


def print_summary(report: DailyCacheReport, console: Console) -> None:
    """Print the answer and the key figures only."""
    _print_summary(_Printer(console), view_of(report, ()))


def _print_summary(printer: _Printer, view: View) -> None:
    _print_verdict(printer, view)
    printer.gap()
    printer.labelled_figures(view.key_figures)


def _standard_output() -> Console:
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal and not _is_width(os.environ.get("COLUMNS", "")):
        console.width = PIPE_WIDTH
    return console


def _is_width(given: str) -> bool:
    return given.isdecimal() and int(given) > 0


class _Printer:
    """Lays out lines itself, because rich pads cells with spaces and separates figures from their units."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = console.width

    def line(self, text: str, style: str = "", indent: int = 0) -> None:
        """Print prose; a figure stays with its unit."""
        for part in text_layout.wrapped(text, self._width - indent):
            self._put(Text(part, style), indent)

    def query(self, text: str) -> None:
        """Print SQL; its characters may be two columns wide."""
        room = max(self._width - _INDENT, 1)
        for part in Text(text, "cyan").wrap(self._console, room, overflow="fold"):
            part.rstrip()
            self._put(part, _INDENT)

    def gap(self) -> None:
        self._console.print()

    def heading(self, text: str) -> None:
        self.gap()
        self.line(text, "bold underline")

    def labelled_figures(self, rows: Sequence[LabelledFigure]) -> None:
        if not rows:
            return
        names = max(len(row.name) for row in rows) + text_layout.GAP
        values = max(len(row.value) for row in rows) + text_layout.GAP
        room = self._width - names - values
        for row in rows:
            if self._width >= _NOTES_BESIDE_FROM and room >= _LEAST_FOR_NOTES:
                self._beside(row, names, values, room)
            else:
                self._below(row, names)

    def _beside(self, row: LabelledFigure, names: int, values: int, room: int) -> None:
        first, *others = text_layout.wrapped(row.note, room) or [""]
        self._put(_fact(row, names, row.value.ljust(values), first))
        for note in others:
            self._put(Text(note), names + values)

    def _below(self, row: LabelledFigure, names: int) -> None:
        if names + len(row.value) <= self._width:
            self._put(_fact(row, names, row.value))
        else:
            self.line(row.name, "dim")
            self.line(row.value, "bold", _INDENT)
        self.line(row.note, indent=_INDENT)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, its first column aligned to the left; a list where the terminal is too narrow."""
        widths = text_layout.widths(columns, rows)
        if not text_layout.fits(widths, self._width):
            for row in rows:
                self.line(text_layout.in_a_line(columns, row))
            return
        for place, row in enumerate((columns, *rows)):
            self._put(Text(text_layout.aligned(row, widths, first_left=True), "" if place else "bold"))

    def listed(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[Sequence[str]]
    ) -> None:
        """Print a table with a query and its notes below each row, over the whole width.

        Args:
            columns: names; the cells of the first one are numbers.
            rows: of cells.
            below: for each row its lines, the query first.
        """
        widths = text_layout.widths(columns, rows)
        fits = text_layout.fits(widths, self._width)
        if fits:
            self._put(Text(text_layout.aligned(columns, widths), "bold"))
        for row, (query, *notes) in zip(rows, below, strict=True):
            if fits:
                self._put(Text(text_layout.aligned(row, widths)))
            else:
                self.line(text_layout.in_a_line(columns, row))
            self.query(query)
            for note in notes:
                self.line(note, "dim", _INDENT)

    def _put(self, line: Text, indent: int = 0) -> None:
        line.rstrip()
        self._console.print(Text.assemble(" " * indent, line), overflow="fold")


def _fact(row: LabelledFigure, names: int, value: str, note: str = "") -> Text:
    return Text.assemble((row.name.ljust(names), "dim"), (value, "bold"), note)


def _print_verdict(printer: _Printer, view: View) -> None:
    verdict = view.verdict
    printer.line(f"Cache report of {view.day} ({view.time_zone})", "dim")
    printer.line(f"{verdict.answer} {verdict.headline}", "bold green" if verdict.pays else "bold")
    printer.line(verdict.why)
    printer.line(verdict.how_sure)
    printer.line(verdict.covered)
    printer.line(verdict.to_do)


def _print_queries(printer: _Printer, view: View) -> None:
    if view.to_cache:
        printer.heading("To cache first")
        printer.listed(
            ("NO.", "TTL", "WRITES", "HIT RATIO", "MEMORY", _saves(view)),
            [
                (str(each.rank), each.ttl, each.writes, each.hit_ratio, each.memory, each.saves)
                for each in view.to_cache
            ],
            [(each.query, _in_database(each.where), each.why, each.note) for each in view.to_cache],
        )
    if view.repeated:
        printer.heading(view.repeated_title)
        printer.listed(
            ("NO.", "REPEATS", "EXECUTIONS", "SHARE", "TAKES", "RESULT", "WRITTEN"),
            [_repeated_cells(each) for each in view.repeated],
            [(each.query, _in_database(each.where), each.caching, each.note) for each in view.repeated],
        )


def _repeated_cells(each: Repeated) -> tuple[str, ...]:
    figures = (each.repeats, each.executions, each.share, each.takes, each.result, each.written)
    return (str(each.rank), *figures)


def _in_database(where: str) -> str:
    return f"In {where}." if where else ""


def _saves(view: View) -> str:
    return f"SAVES {view.covered.per.upper()}"


def _print_ratios(printer: _Printer, view: View) -> None:
    if view.by_ttl:
        printer.heading("Hit ratio by TTL, if every query that a cache could answer went through it")
        printer.table(
            ("TTL", "HIT RATIO", "IF DROPPED", "STALE", "MEMORY", _saves(view)),
            [(row.ttl, row.hit_ratio, row.dropped, row.stale, row.memory, row.saves) for row in view.by_ttl],
        )
        printer.line(
            "IF DROPPED: the hit ratio that is left if each write drops the whole table, or one entry of each"
            " query. STALE: at most this share is older than a write, if writes drop nothing.",
            "dim",
        )
    if view.surface is not None:
        printer.heading("Hit ratio by TTL and memory")
        printer.table(
            ("TTL", *view.surface.memories),
            [(ttl, *(cell.text for cell in cells)) for ttl, cells in view.surface.rows],
        )


def _print_rest(printer: _Printer, view: View) -> None:
    if view.not_cacheable:
        printer.heading("What no cache can answer")
        for row in view.not_cacheable:
            printer.line(f"{row.share} ({row.executions}): it {row.why}")
            printer.query(row.example)
    if view.costs:
        printer.heading("What it would cost")
        printer.table(("WHAT", "A MONTH"), [(row.name, row.month) for row in view.costs])
    if view.comparison is not None:
        printer.heading("With and without a cache")
        printer.line(view.comparison.says, "dim")
        printer.table(
            ("WHAT", "WITHOUT", "WITH", "DIFFERENCE"),
            [(row.name, row.without_cache, row.with_cache, row.difference) for row in view.comparison.rows],
        )
    if view.trend:
        printer.heading("The last days")
        printer.table(_TREND_COLUMNS, [_trend_cells(day) for day in view.trend[-DAYS_SHOWN:]])
    printer.heading("Assumptions")
    printer.labelled_figures(view.assumptions)
    printer.heading("What the figures rest on")
    printer.labelled_figures(view.sample_figures)


def _trend_cells(day: TrendRow) -> tuple[str, ...]:
    sums = (day.cacheable, day.repeats, day.answered)
    return (day.day, *sums, day.ttl, day.memory, day.saves, day.cost, day.pays)
