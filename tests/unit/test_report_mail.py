"""The cache report as a mail: what it says, how long its lines are, and that queries never become markup."""

from __future__ import annotations

import re
from dataclasses import astuple
from datetime import UTC
from html.parser import HTMLParser

import pytest

from otel_ratelimit.cache_advice.daily_report import conclude
from otel_ratelimit.cache_advice.prices import Pricing
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.reports.mail.mime_message import message
from otel_ratelimit.reports.rendering import formatting, phrases, plain_text
from otel_ratelimit.reports.rendering.hit_ratio import HitRatio, expected_hit_ratio
from otel_ratelimit.reports.rendering.mail_subject_and_body import DAYS_SHOWN, mail_html, mail_text, subject
from otel_ratelimit.reports.rendering.view import view_of

EVERY = ("open", "paid", "dear", "none", "useless", "uncacheable", "single")
POOR = ("none", "useless", "uncacheable", "single")
MAX_BYTES = 85_000
VOID = {"meta", "br", "hr", "img", "input", "link"}


class WellFormed(HTMLParser):
    """Every element is closed by its own end."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.words = [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).replace(formatting.NO_BREAK_SPACE, " ").split())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open", r"Cache for shop: yes, by rule of thumb; hit ratio \d\d\.\d %, TTL 1 h \(2026-03-28\)"),
        ("paid", r"Cache for shop: yes, certain; hit ratio \d\d\.\d %, TTL 1 h \(2026-03-28\)"),
        (
            "dear",
            r"Cache for shop: no, certain; brings less than 0.01 USD a month, costs [\d.]+ USD \(2026-.*",
        ),
        ("none", r"Cache for shop: no, certain; there was no query on that day \(2026-03-28\)"),
    ],
)
def test_the_subject_answers_the_question(cache_reports, name, said):
    assert re.fullmatch(said, subject(getattr(cache_reports, name), "shop"))


def with_plan(report, executions=None, templates=None, **at):
    analysis = report.analysis
    plan = analysis.plan.model_copy(update={"at": analysis.plan.at.model_copy(update=at)})
    more = {
        "plan": plan,
        "executions": executions or analysis.executions,
        "planned_templates": templates or analysis.planned_templates,
    }
    return report.model_copy(update={"analysis": analysis.model_copy(update=more)})


def test_the_hit_ratio_is_the_one_that_the_cache_itself_will_count(cache_reports):
    few = {"asked": 427.0, "hits": 400.0, "hit_ratio": 0.173, "hit_ratio_low": 0.170, "hit_ratio_high": 0.19}
    report = with_plan(cache_reports.paid, executions=2_312.0, templates=2, **few)
    (said,) = (fact for fact in view_of(report, []).key_figures if fact.name == "Hit ratio to expect")
    assert said.value == "93.7 % (92.0 to 100.0)"
    assert said.note == (
        "of the 427 executions of 2 templates that go through it; 17.3 % of all that a cache could answer"
    )
    assert "; hit ratio 93.7 %, TTL" in subject(report, "shop")
    assert "93.7 % (92.0 to 100.0)" in mail_text(report, [])
    assert "93.7 % (92.0 to 100.0)" in WellFormed(mail_html(report, [])).text


def test_a_plan_that_nothing_asks_has_no_hits(cache_reports):
    report = with_plan(cache_reports.paid, asked=0.0, hits=0.0)
    assert expected_hit_ratio(report.analysis, report.analysis.plan.at) == HitRatio(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("entries", "said"),
    [(0.2, "for fewer than one entry in"), (1.0, "for 1 entry in"), (9.0, "for 9 entries in")],
)
def test_memory_is_for_as_many_entries_as_there_are(cache_reports, entries, said):
    report = with_plan(cache_reports.paid, peak_keys=entries)
    (memory,) = (fact for fact in view_of(report, []).key_figures if fact.name == "Memory")
    assert memory.note.startswith(said)


def test_a_subject_is_one_line_whatever_the_source_is_called(cache_reports):
    assert subject(cache_reports.none, "").startswith("Cache: no")
    made = subject(cache_reports.none, "shop\r\nBcc: all@example.org\u2028" + 100 * "x")
    assert made.isprintable()
    assert len(made) < 120


def test_a_mail_can_be_made_of_it(cache_reports):
    report = cache_reports.paid
    made = message(
        sender="a@example.org",
        to=["b@example.org"],
        subject=subject(report, "shop"),
        text=mail_text(report, []),
        html=mail_html(report, []),
        report_date=report.analysis_date,
        source="shop",
        now=report.analysis.period_end,
    )
    assert len(made.as_bytes()) < 2 * MAX_BYTES


def test_the_text_says_what_was_found(cache_reports):
    report = cache_reports.paid
    plan = report.analysis.plan
    ratio = expected_hit_ratio(report.analysis, plan.at)

    text = mail_text(report, [])

    assert text.splitlines()[3] == "YES. A cache would pay."
    assert "Certain: both ends of the hit ratio's interval say the same." in text
    for said in (
        formatting.share(report.analysis.duplicate_percentage / 100),
        formatting.share_between(ratio.value, ratio.low, ratio.high),
        formatting.size(plan.at.peak_bytes),
        f"{formatting.duration(plan.at.latency_saved_ms)} a day",
        f"{formatting.share(report.cost.load_reduction)} less",
        f"{formatting.money(report.cost.monthly_cost, 'USD')} a month",
        f"{formatting.money(report.cost.monthly_benefit, 'USD')} a month",
        f"from {formatting.count(report.cost.break_even_executions_a_day)} executions a day",
        "writes must drop it",
        "1 in 2",
    ):
        assert said in text


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("days", [0, 1, 30])
def test_lines_of_the_text_fit_and_hold_no_markup(cache_reports, name, days):
    text = mail_text(getattr(cache_reports, name), cache_reports.days(days))
    assert max(len(line) for line in text.splitlines()) <= plain_text.WIDTH
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "&lt;" not in text
    assert formatting.NO_BREAK_SPACE not in text


def test_a_table_too_wide_for_the_text_becomes_a_list():
    columns, rows = ["TTL", 40 * "a", 40 * "b"], [["1 s", "2 kB", "3 s"]]
    assert plain_text.table(columns, rows) == [
        f"1 s: {40 * 'a'} 2 kB;",
        f"    {40 * 'b'} 3 s",
    ]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("days", [0, 30])
def test_the_html_is_well_formed_small_and_of_itself(cache_reports, name, days):
    document = mail_html(getattr(cache_reports, name), cache_reports.days(days))
    parsed = WellFormed(document)
    assert len(document.encode()) < MAX_BYTES
    assert not re.search(r"https?:|//|url\(|@import", document.replace("<!DOCTYPE html>", ""))
    assert not {tag for tag, _ in parsed.seen} & {"img", "script", "link", "iframe", "svg"}
    assert not any(
        name in {"src", "href"} or name.startswith("on") for _, given in parsed.seen for name in given
    )


def test_a_query_never_becomes_markup(cache_reports):
    parsed = WellFormed(mail_html(cache_reports.open, []))
    assert " ".join(cache_reports.hostile.split()) in parsed.text
    assert "script" not in {tag for tag, _ in parsed.seen}
    assert "{{ 7 * 7 }}" in parsed.text


def test_text_and_html_say_the_same(cache_reports):
    view = view_of(cache_reports.paid, cache_reports.days(3))
    html = WellFormed(mail_html(cache_reports.paid, cache_reports.days(3))).text
    text = " ".join(mail_text(cache_reports.paid, cache_reports.days(3)).split())
    for fact in (*view.key_figures, *view.assumptions, *view.sample_figures):
        assert fact.value in html
        assert fact.value in text
        assert fact.note in html


def test_queries_of_nothing_but_quotes_do_not_make_a_mail_that_gets_clipped(cache_reports):
    analysis = cache_reports.paid.analysis
    worst = [each.model_copy(update={"template": 5_000 * '"'}) for each in analysis.most_worth]
    changed = analysis.model_copy(update={"most_worth": worst, "most_repeated": worst})
    made = mail_html(cache_reports.paid.model_copy(update={"analysis": changed}), cache_reports.days(30))
    assert len(made.encode()) < MAX_BYTES


def test_one_query_is_described_in_the_singular(cache_reports):
    text = mail_text(cache_reports.single, [])
    assert not re.search(r"\b1 (executions|queries)", text)


def test_a_long_query_is_shortened_in_a_mail(cache_reports):
    assert "a_rather_long_column_name_5," in mail_text(cache_reports.open, [])
    assert "a_rather_long_column_name_60" not in mail_text(cache_reports.open, [])
    assert "a_rather_long_column_name_60" not in mail_html(cache_reports.open, [])


def test_without_a_value_of_time_the_mail_says_which_keys_would_set_one(cache_reports):
    for shown in (mail_text(cache_reports.open, []), WellFormed(mail_html(cache_reports.open, [])).text):
        whole = " ".join(shown.split())
        assert "set value_of_saved_millisecond or value_of_database_second under [cache]" in whole
        assert len(re.findall(r"value is set|not set|value of saved time", whole)) == 1
        for of_money in ("Brings", "Breaks even", "Worth of", "Open:", "not known"):
            assert of_money not in whole


def test_an_answer_by_rule_of_thumb_says_so_beside_the_answer(cache_reports):
    assert "YES, BY RULE OF THUMB. A cache would pay." in mail_text(cache_reports.open, [])
    assert "Yes, by rule of thumb. A cache would pay." in WellFormed(mail_html(cache_reports.open, [])).text
    cost = cache_reports.open.cost.model_copy(update={"worthwhile": False})
    refused = mail_text(cache_reports.open.model_copy(update={"cost": cost}), [])
    assert "NO, BY RULE OF THUMB. A cache would not pay." in refused


def sampled(report, *, rate=1.0, dropped=0):
    analysis = report.analysis
    sample = analysis.sample.model_copy(update={"lowest_rate": rate, "dropped": dropped})
    unsure = [each.model_copy(update={"has_own_share": False}) for each in analysis.most_worth]
    more = {"sample": sample, "most_worth": unsure, "most_repeated": unsure}
    return conclude(
        analysis.model_copy(update=more), Assumptions(), Pricing(), day=report.analysis_date, zone=UTC
    )


FEW = "Few of its keys were sampled"


def test_what_was_not_sampled_has_no_note_of_it(cache_reports):
    for shown in (mail_text, mail_html):
        assert FEW not in shown(sampled(cache_reports.open), [])
        assert FEW in shown(sampled(cache_reports.open, rate=0.5), [])


@pytest.mark.parametrize(
    ("kept", "short", "said"),
    [
        ({}, "no, certain for that day;", "Certain for that day: all of its queries were kept. Other days"),
        ({"rate": 0.5}, "no, likely;", "Likely: it is estimated from the queries kept of that day."),
        ({"dropped": 1}, "no, likely;", "Likely: it is estimated from the queries kept of that day."),
    ],
)
def test_an_estimate_is_called_one_only_where_something_was_not_kept(cache_reports, kept, short, said):
    report = sampled(cache_reports.useless, **kept)
    assert short in subject(report, "")
    assert said in mail_text(report, [])


def test_no_line_begins_as_mail_transports_would_change_it(cache_reports):
    for name in EVERY:
        text = mail_text(getattr(cache_reports, name), cache_reports.days(30))
        assert not re.search(r"^From ", text, re.MULTILINE)


def test_what_never_breaks_even_says_so(cache_reports):
    cost = cache_reports.paid.cost.model_copy(update={"break_even_executions_a_day": None})
    text = mail_text(cache_reports.paid.model_copy(update={"cost": cost}), [])
    assert re.search(r"Breaks even +never", text)


def test_time_that_is_lost_is_not_called_saved(cache_reports):
    analysis = cache_reports.open.analysis
    at = analysis.plan.at.model_copy(update={"latency_saved_ms": -3_200.0})
    plan = analysis.plan.model_copy(update={"at": at})
    changed = cache_reports.open.model_copy(update={"analysis": analysis.model_copy(update={"plan": plan})})
    text = " ".join(mail_text(changed, []).split())
    assert "Time saved none asking the cache takes 3.2 s a day longer than its answers save" in text


@pytest.mark.parametrize("name", POOR)
def test_a_day_with_nothing_to_cache_gives_the_reason_and_no_figures_of_a_cache(cache_reports, name):
    report = getattr(cache_reports, name)
    text = mail_text(report, [])
    assert phrases.sentence(report.reason) in text
    assert "NO. " in text
    for made_up in ("Hit ratio to expect", "Costs", "Breaks even", "HIT RATIO BY TTL", "TO CACHE FIRST"):
        assert made_up not in text


@pytest.mark.parametrize("name", EVERY)
def test_no_figure_is_nan_or_a_zero_with_a_sign(cache_reports, name):
    for shown in (mail_text(getattr(cache_reports, name), []), mail_html(getattr(cache_reports, name), [])):
        assert not re.search(r"\bnan\b|\binf\b|(?<![\w.])-0(\.0+)?(?![\d.])", shown)


def test_the_table_by_ttl_ends_where_figures_change_no_more(cache_reports):
    first, *others = cache_reports.open.analysis.by_ttl
    flat = [first, *(others[0].model_copy(update={"ttl_seconds": at}) for at in (300.0, 600.0, 3_600.0))]
    analysis = cache_reports.open.analysis.model_copy(update={"by_ttl": flat})
    report = cache_reports.open.model_copy(update={"analysis": analysis})
    rows = view_of(report, []).by_ttl
    assert [row.ttl for row in rows] == [formatting.ttl(first.ttl_seconds), "5 min and longer"]
    for shown in (mail_text(report, []), WellFormed(mail_html(report, [])).text):
        assert "5 min and longer" in shown
        assert "10 min and longer" not in shown


def test_bars_of_a_mail_end_where_what_they_show_changes_no_more(cache_reports):
    first = cache_reports.open.analysis.by_ttl[0]
    longer = first.model_copy(update={"ttl_seconds": 86_400.0, "latency_saved_ms": 1e9})
    analysis = cache_reports.open.analysis.model_copy(update={"by_ttl": (first, longer)})
    view = view_of(cache_reports.open.model_copy(update={"analysis": analysis}), [])
    assert [len(view.by_ttl), len(view.by_ttl_in_brief)] == [2, 1]


def test_memory_is_no_matter_where_the_least_holds_everything(cache_reports):
    analysis = cache_reports.open.analysis
    surface = analysis.surface
    same = surface.model_copy(update={"hit_ratio": tuple((row[0],) * len(row) for row in surface.hit_ratio)})
    report = cache_reports.open.model_copy(update={"analysis": analysis.model_copy(update={"surface": same})})
    assert view_of(report, []).surface is None
    assert "TTL AND MEMORY" not in mail_text(report, [])
    assert "TTL AND MEMORY" in mail_text(cache_reports.open, [])


def test_a_day_without_queries_has_no_figures_in_the_trend(cache_reports):
    quiet, busy = cache_reports.days(2)
    quiet = quiet._replace(total_queries=0, hit_potential=0.0, currency="EUR")
    found = view_of(cache_reports.open, [quiet, busy, busy._replace(currency="CHF")]).trend
    assert [*astuple(found[0])][1:] == ["0", *["-"] * 7]
    assert [row.cost for row in found[1:]] == ["8.66 USD", "8.66 CHF"]
    assert re.search(r"^2026-03-27 +0( +-){6}$", mail_text(cache_reports.open, [quiet, busy]), re.MULTILINE)


def test_a_trend_needs_two_days_and_shows_a_week(cache_reports):
    assert "THE LAST DAYS" not in mail_text(cache_reports.open, cache_reports.days(1))
    assert "The last days" not in mail_html(cache_reports.open, cache_reports.days(1))
    text = mail_text(cache_reports.open, cache_reports.days(30))
    assert len(re.findall(r"^2026-\d\d-\d\d  ", text, re.MULTILINE)) == DAYS_SHOWN
    assert "2026-03-28" in text
