"""The cache report as a page of its own: whole, well-formed, readable without a mouse, and inert."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from otel_ratelimit.reports.rendering import charts, formatting, phrases
from otel_ratelimit.reports.rendering.html_page import page
from otel_ratelimit.reports.rendering.view import view_of

EVERY = ("open", "paid", "dear", "none", "useless", "uncacheable", "single")
VOID = {"meta", "br"}
DRAWN = {"line", "rect", "circle", "polyline", "polygon"}


class Document(HTMLParser):
    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.words, self.code = [], [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in DRAWN
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "code":
            self.code.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).replace(formatting.NO_BREAK_SPACE, " ").split())

    def all(self, tag):
        return [given for name, given in self.seen if name == tag]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("days", [0, 1, 2, 30])
def test_every_page_is_well_formed_and_whole_by_itself(cache_reports, name, days):
    shown = page(getattr(cache_reports, name), cache_reports.days(days))
    document = Document(shown)
    assert shown.startswith("<!DOCTYPE html>")
    assert document.all("html") == [{"lang": "en"}]
    assert not re.search(r"https?:|url\(|@import|\bnan\b", shown)
    assert not {tag for tag, _ in document.seen} & {"script", "link", "img", "iframe", "object"}
    for _, given in document.seen:
        # A policy that allows the one style sheet allows all there is.
        assert not {"src", "href", "style"} & set(given)
        assert not any(attribute.startswith("on") for attribute in given)


def test_the_page_says_what_was_found(cache_reports):
    report = cache_reports.paid
    view = view_of(report, cache_reports.days(3))
    document = Document(page(report, cache_reports.days(3)))
    assert "Yes. A cache would pay." in document.text
    assert phrases.sentence(report.reason) in document.text
    for fact in (*view.key_figures, *view.assumptions, *view.sample_figures):
        assert f"{fact.name} {fact.value}" in document.text.replace(
            fact.name + fact.value, f"{fact.name} {fact.value}"
        )
    for row in view.by_ttl:
        assert row.hit_ratio in document.text
    for each in view.to_cache:
        assert each.saves in document.text
        assert each.hit_ratio in document.text


def test_queries_are_text_and_whole(cache_reports):
    shown = page(cache_reports.open, [])
    document = Document(shown)
    assert cache_reports.hostile in document.code
    assert cache_reports.long in document.code
    assert "<script" not in shown
    assert "</td><b>" not in shown
    assert not document.all("b")[1:]


def test_long_queries_are_folded_and_short_ones_are_not(cache_reports):
    document = Document(page(cache_reports.open, []))
    shown = [*view_of(cache_reports.open, []).to_cache, *view_of(cache_reports.open, []).repeated]
    assert len(document.all("details")) == sum(each.query == cache_reports.long for each in shown) > 0


@pytest.mark.parametrize("name", EVERY)
def test_tables_and_charts_can_be_read_aloud(cache_reports, name):
    shown = page(getattr(cache_reports, name), cache_reports.days(4))
    document = Document(shown)
    assert all(given.get("scope") in {"row", "col"} for given in document.all("th"))
    named = [given["id"] for _, given in document.seen if "id" in given]
    assert len(named) == len(set(named))
    for given in document.all("svg"):
        assert given["role"] == "img"
        assert set(given["aria-labelledby"].split()) <= set(named)
    for drawing in re.findall(r"<svg.*?</svg>", shown, re.DOTALL):
        root = ET.fromstring(drawing)
        assert root.find("title").text
        assert root.find("desc").text


def test_what_everything_in_the_cache_would_bring_is_not_called_the_recommended_cache(cache_reports):
    shown = Document(page(cache_reports.paid, [])).text
    said = "if every query that a cache could answer went through it"
    assert shown.lower().count(said) == 2
    assert "recommended" not in shown


def test_bars_are_as_long_as_what_they_stand_for(cache_reports):
    view = view_of(cache_reports.paid, [])
    bars = charts.saving(view).bars
    for bar, each in zip(bars, view.to_cache, strict=True):
        assert bar.width / bars[0].width == pytest.approx(each.saves_ms / view.to_cache[0].saves_ms, abs=0.01)
    costs = charts.costs(cache_reports.paid, view).bars
    assert [bar.is_benefit for bar in costs] == [False, False, True]
    assert [bar.is_benefit for bar in charts.costs(cache_reports.open, view).bars] == [False, False]


def test_everything_drawn_lies_within_its_chart(cache_reports):
    shown = page(cache_reports.paid, cache_reports.days(30))
    for drawing in re.findall(r"<svg.*?</svg>", shown, re.DOTALL):
        root = ET.fromstring(drawing)
        _, _, width, height = map(float, root.get("viewBox").split())
        for line in root.iter("polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height
        for bar in root.iter("rect"):
            assert float(bar.get("width")) <= width
            assert float(bar.get("y")) + float(bar.get("height")) <= height


def test_one_ttl_makes_a_chart_of_one_point(cache_reports):
    analysis = cache_reports.open.analysis
    one = analysis.model_copy(update={"by_ttl": analysis.by_ttl[-1:]})
    drawn = charts.by_ttl(cache_reports.open.model_copy(update={"analysis": one}))
    assert len(drawn.lines[0].points) == 1


@pytest.mark.parametrize("name", ["none", "useless", "uncacheable", "single"])
def test_a_day_with_nothing_to_cache_has_no_charts_of_a_cache(cache_reports, name):
    report = getattr(cache_reports, name)
    document = Document(page(report, []))
    assert phrases.sentence(report.reason) in document.text
    assert document.all("svg") == []
    assert "Breaks even" not in document.text


def test_a_surface_has_changes_by_its_ratios_and_may_be_missing(cache_reports):
    analysis = cache_reports.open.analysis
    shown = page(cache_reports.open, [])
    assert analysis.surface is not None
    assert len(re.findall(r'<td class="h\d+">', shown)) == sum(map(len, analysis.surface.hit_ratio))
    without = analysis.model_copy(update={"surface": None})
    assert 'class="heat"' not in page(cache_reports.open.model_copy(update={"analysis": without}), [])


def test_a_trend_needs_two_days(cache_reports):
    assert charts.over_days(cache_reports.days(1)) is None
    drawn = charts.over_days(cache_reports.days(2))
    assert [len(line.points) for line in drawn.lines] == [2, 2]
    assert [len(line.paths) for line in drawn.lines] == [1, 1]
    assert "The last days" in page(cache_reports.none, cache_reports.days(2))
    assert "The last days" not in Document(page(cache_reports.none, cache_reports.days(1))).text


def test_a_day_without_queries_is_a_gap_in_the_line(cache_reports):
    days = cache_reports.days(5)
    days[2] = days[2]._replace(total_queries=0, duplicate_percentage=0.0, hit_potential=0.0)
    drawn = charts.over_days(days)
    assert [[path.count(",") for path in line.paths] for line in drawn.lines] == [[2, 2], [2, 2]]
    assert page(cache_reports.paid, days).count("<polyline") == 1 + 2 * 2
    assert charts.over_days([day._replace(total_queries=0) for day in days]) is None
