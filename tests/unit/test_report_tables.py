"""The cache report in a terminal: whole at every width, in a pipe, and whatever queries hold."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from otel_ratelimit.reports.rendering import formatting
from otel_ratelimit.reports.rendering.terminal_tables import PIPE_WIDTH, print_report
from otel_ratelimit.reports.rendering.view import view_of

EVERY = ("open", "paid", "dear", "none", "useless", "uncacheable", "single")


def printed(report, days, width=100, **more):
    console = Console(file=io.StringIO(), width=width, highlight=False, **more)
    print_report(report, days, console)
    return console.file.getvalue()


def without_space(text):
    return "".join(text.split())


@pytest.mark.untraced
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_nothing_is_cut_at_any_width(cache_reports, name, width):
    report = getattr(cache_reports, name)
    text = printed(report, cache_reports.days(3), width)
    view = view_of(report, cache_reports.days(3))
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    squeezed = without_space(text)
    for each in (*view.to_cache, *view.repeated):
        assert without_space(each.query) in squeezed
    assert without_space(view.verdict.why) in squeezed
    if width >= 80:
        for fact in (*view.key_figures, *view.assumptions, *view.sample_figures):
            assert fact.value in text


def test_figures_stand_in_one_line_where_there_is_room(cache_reports):
    view = view_of(cache_reports.paid, [])
    text = printed(cache_reports.paid, [], 80)
    for row in view.by_ttl:
        assert re.search(
            rf"^{row.ttl}.*{re.escape(row.hit_ratio)}.*{re.escape(row.memory)}", text, re.MULTILINE
        )
    for each in view.to_cache:
        assert re.search(rf"^ *{each.rank} +{each.ttl} .*{re.escape(each.hit_ratio)}", text, re.MULTILINE)


def test_a_pipe_gets_lines_without_colours(cache_reports, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_report(cache_reports.open, cache_reports.days(3))
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= PIPE_WIDTH
    assert "Yes, by rule of thumb. A cache would pay." in text
    assert "2026-03-27" in text


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [30, 80, 100])
def test_no_line_ends_in_space_nor_between_a_figure_and_its_unit(cache_reports, name, width):
    text = printed(getattr(cache_reports, name), cache_reports.days(3), width)
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert formatting.NO_BREAK_SPACE not in text
    assert not re.search(r"\d\n *(%|ms|s|min|h|kB|MB|GB|USD)\b", text)


def test_a_pipe_is_as_wide_as_columns_say(cache_reports, capsys, monkeypatch):
    for columns, width in (("50", 50), ("", PIPE_WIDTH), ("0", PIPE_WIDTH), ("wide", PIPE_WIDTH)):
        monkeypatch.setenv("COLUMNS", columns)
        print_report(cache_reports.open, cache_reports.days(3))
        widest = max(len(line) for line in capsys.readouterr().out.splitlines())
        assert width - 10 < widest <= width


def test_markup_and_escapes_in_a_query_are_inert(cache_reports):
    text = printed(cache_reports.open, [], 200)
    assert cache_reports.hostile in text
    analysis = cache_reports.open.analysis
    steering = analysis.most_repeated[0].model_copy(update={"template": "SELECT '\x1b[2J' AS a\rb"})
    changed = analysis.model_copy(update={"most_repeated": (steering,)})
    text = printed(cache_reports.open.model_copy(update={"analysis": changed}), [])
    assert "SELECT '\ufffd[2J' AS a b" in text


def test_colours_are_for_terminals(cache_reports):
    assert "\x1b[1;32mYes, by rule of thumb." in printed(
        cache_reports.open, [], force_terminal=True, color_system="standard", legacy_windows=False
    )


def test_a_day_without_queries_says_so_and_little_else(cache_reports):
    text = printed(cache_reports.none, [])
    assert "No. There was nothing to cache." in text
    assert "There was no query on that day." in text
    for made_up in ("To cache first", "Costs", "Hit ratio", "The last days"):
        assert made_up not in text


def test_a_trend_needs_two_days(cache_reports):
    assert "The last days" not in printed(cache_reports.open, cache_reports.days(1))
    assert "The last days" in printed(cache_reports.open, cache_reports.days(2))
