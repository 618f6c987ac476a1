"""The cache report in a terminal: nothing is cut, however narrow it is, and queries are never markup."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_ratelimit.analysis.cache.daily import DailyCacheReport
from otel_ratelimit.analysis.cache.history import DayInBrief
from otel_ratelimit.rendering.view import Fact, View, view_of

PIPE_WIDTH: Final = 100
"""A pipe has no width; wide enough for every table, and for a screen on which its end is read."""
DAYS_SHOWN: Final = 14
_GAP: Final = 2
_NOTES_BESIDE_FROM: Final = 76
"""Columns of a terminal that has room for notes beside their figures."""
_INDENT: Final = 4


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
    printer.facts(view.key)


def _standard_output() -> Console:
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


class _Printer:
    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str, style: str = "", indent: int = 0) -> None:
        if text:
            self._console.print(Padding(Text(text, style, overflow="fold"), (0, 0, 0, indent), expand=False))

    def gap(self) -> None:
        self._console.print()

    def heading(self, text: str) -> None:
        self.gap()
        self.line(text, "bold underline")

    def facts(self, rows: Sequence[Fact]) -> None:
        has_room = self._console.width >= _NOTES_BESIDE_FROM
        table = Table.grid(padding=(0, _GAP, 0, 0))
        for place in range(3 if has_room else 2):
            table.add_column(overflow="fold", no_wrap=has_room and place < 2)  # noqa: PLR2004 - not the notes
        for row in rows:
            name, value = Text(row.name, "dim"), Text(row.value, "bold")
            if has_room:
                table.add_row(name, value, Text(row.note))
            else:
                table.add_row(name, Text.assemble(value, f"\n{row.note}" if row.note else ""))
        self._console.print(table)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column to the left, figures to the right; as a list where the terminal is too narrow."""
        if not self._fits(_widths(columns, rows)):
            for row in rows:
                self.line(_in_a_line(columns, row))
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for place, column in enumerate(columns):
            table.add_column(Text(column), overflow="fold", justify="right" if place else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table)

    def listed(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[Sequence[str]]
    ) -> None:
        """A table with a query, and what there is to say of it, below each row over the whole width.

        Args:
            columns: names; the first one's cells are numbers.
            rows: of cells.
            below: of each row, the query first.
        """
        widths = _widths(columns, rows)
        fits = self._fits(widths)
        if fits:
            self.line(_aligned(columns, widths), "bold")
        for row, (query, *notes) in zip(rows, below, strict=True):
            self.line(_aligned(row, widths) if fits else _in_a_line(columns, row))
            self.line(query, "cyan", _INDENT)
            for note in notes:
                self.line(note, "dim", _INDENT)

    def _fits(self, widths: Sequence[int]) -> bool:
        return sum(widths) + _GAP * (len(widths) - 1) <= self._console.width


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cells[place]) for cells in (columns, *rows)) for place in range(len(columns))]


def _in_a_line(columns: Sequence[str], row: Sequence[str]) -> str:
    pairs = zip(columns[1:], row[1:], strict=True)
    return f"{row[0]}: " + "; ".join(
        f"{name if name == 'TTL' else name.lower()} {cell}" for name, cell in pairs
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return (" " * _GAP).join(padded)


def _print_verdict(printer: _Printer, view: View) -> None:
    verdict = view.verdict
    printer.line(f"Cache report of {view.day} ({view.time_zone})", "dim")
    printer.line(f"{verdict.answer} {verdict.headline}", "bold green" if verdict.pays else "bold")
    printer.line(verdict.why)
    printer.line(verdict.how_sure)
    printer.line(verdict.to_do)


def _print_queries(printer: _Printer, view: View) -> None:
    if view.to_cache:
        printer.heading("To cache first")
        printer.listed(
            ("NO.", "TTL", "WRITES", "HIT RATIO", "MEMORY", "SAVES A DAY"),
            [
                (
                    str(each.rank),
                    *(each.ttl, "must drop it" if each.invalidate else "may be ignored"),
                    *(each.hit_ratio, each.memory, each.saves),
                )
                for each in view.to_cache
            ],
            [(each.query, each.why, each.note) for each in view.to_cache],
        )
    if view.repeated:
        printer.heading("Repeated most")
        printer.listed(
            ("NO.", "REPEATS", "EXECUTIONS", "SHARE", "TAKES", "RESULT", "WRITTEN"),
            [
                (
                    str(each.rank),
                    *(each.repeats, each.executions, each.share, each.takes, each.result, each.written),
                )
                for each in view.repeated
            ],
            [(each.query, each.caching, each.note) for each in view.repeated],
        )


def _print_ratios(printer: _Printer, view: View) -> None:
    if view.by_ttl:
        printer.heading("Hit ratio by TTL, if every query that a cache could answer went through it")
        printer.table(
            ("TTL", "HIT RATIO", "IF DROPPED", "STALE", "MEMORY", "SAVES A DAY"),
            [(row.ttl, row.hit_ratio, row.dropped, row.stale, row.memory, row.saves) for row in view.by_ttl],
        )
        printer.line(
            "IF DROPPED: what is left where writes drop the whole table, or one entry of each query. STALE:"
            " older than a write, at most, where writes drop nothing.",
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
            printer.line(row.example, "cyan", _INDENT)
    if view.costs:
        printer.heading("What it would cost")
        printer.table(("WHAT", "A MONTH"), [(row.name, row.month) for row in view.costs])
    if view.trend:
        printer.heading("The last days")
        printer.table(
            (
                "DAY",
                "CACHEABLE",
                "REPEATED",
                "ANSWERED",
                "TTL",
                "MEMORY",
                "SAVES A DAY",
                "COST A MONTH",
                "PAYS",
            ),
            [
                (
                    day.day,
                    day.cacheable,
                    day.repeats,
                    day.answered,
                    day.ttl,
                    day.memory,
                    day.saves,
                    day.cost,
                    day.pays,
                )
                for day in view.trend[-DAYS_SHOWN:]
            ],
        )
    printer.heading("What is supposed")
    printer.facts(view.supposed)
    printer.heading("What the figures rest on")
    printer.facts(view.rests_on)
