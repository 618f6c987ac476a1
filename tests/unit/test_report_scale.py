"""Every sum of a report is of one time, which is said: a day, or what of today has passed."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, timedelta

import pytest
from memory_day import QueryRowsDay
from query_rows import START, query_row, read_template
from rich.console import Console

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.daily_report import conclude
from otel_ratelimit.cache_advice.prices import Pricing
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.core.periods import Period
from otel_ratelimit.reports.rendering import formatting
from otel_ratelimit.reports.rendering.html_page import page
from otel_ratelimit.reports.rendering.mail_subject_and_body import mail_html, mail_text
from otel_ratelimit.reports.rendering.terminal_tables import print_report

OF_A_DAY = re.compile(
    r"not a day|executions a day|a day at that rate",
    re.IGNORECASE,
)
A_DAY = re.compile(r"\ba day\b|on that day|of that day", re.IGNORECASE)


def report(covered, *, milliseconds=30, executions=20, value=0.0, after=timedelta(0)):
    """One question, every 30 seconds."""
    template = read_template(1, "SELECT * FROM jobs", "jobs")
    given = {"duration_us": round(1_000 * milliseconds), "result_bytes": 100}
    rows = [query_row(after.total_seconds() + 29 * at, template, b"", **given) for at in range(executions)]
    day = QueryRowsDay(Period(START + after, START + after + covered), rows)
    assumed = Assumptions(value_of_saved_ms=value)
    analysis = analyze_cache_potential(day, assumed, ttls=(60, 3_600))
    return conclude(analysis, assumed, Pricing(), day=START.date(), zone=UTC)


def terminal(made, days):
    console = Console(file=io.StringIO(), width=100, highlight=False)
    print_report(made, days, console)
    return console.file.getvalue()


SHOWN = {"terminal": terminal, "mail": mail_text, "html mail": mail_html, "page": page}
MINUTES = timedelta(minutes=10)
DAY = timedelta(days=1)
REPORTS = {
    "saves time": {},
    "worth money": {"value": 0.01},
    "too quick": {"milliseconds": 0.4},
    "nothing at all": {"executions": 0},
}


def said(shown):
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", shown, flags=re.DOTALL)
    return " ".join(shown.replace(formatting.NO_BREAK_SPACE, " ").replace("&#160;", " ").split())


@pytest.mark.parametrize("way", SHOWN)
@pytest.mark.parametrize("kind", REPORTS)
def test_ten_minutes_are_never_called_a_day(way, kind):
    text = said(SHOWN[way](report(MINUTES, **REPORTS[kind]), []))

    assert A_DAY.findall(OF_A_DAY.sub("", text)) == []
    assert "28 March 2026, so far: 10 min of it" in text
    assert "So far: all sums cover 10 min and not a day" in text


@pytest.mark.parametrize("way", SHOWN)
@pytest.mark.parametrize("kind", REPORTS)
def test_a_day_is_never_called_so_far(way, kind):
    assert "so far" not in said(SHOWN[way](report(DAY, **REPORTS[kind]), [])).lower()


@pytest.mark.parametrize("way", SHOWN)
def test_sums_are_those_of_the_ten_minutes(way):
    made = report(MINUTES)
    text = said(SHOWN[way](made, [])).lower()

    # 19 hits of 30 ms, less 20 times asking and once storing: 559.5 ms.
    assert made.analysis.plan.at.latency_saved_ms == pytest.approx(559.5)
    assert "560 ms so far" in text
    # 600 ms of 600 s, whichever time that is of.
    assert "busy with queries for 0.10 % of the time, less than 1 %" in text


def test_what_is_of_a_day_says_at_which_rate():
    made = report(MINUTES, value=0.01)
    text = said(terminal(made, []))
    assert "there were 20 like these so far, which makes 2,880 a day at that rate" in text
    assert made.cost.latency_saved_ms_a_day == pytest.approx(144 * 559.5)


@pytest.mark.parametrize(
    ("covered", "scale"), [(MINUTES, "so_far"), (DAY - timedelta(seconds=1), "so_far"), (DAY, "day")]
)
def test_json_says_of_how_long_it_is(covered, scale):
    told = json.loads(report(covered).model_dump_json())
    assert (told["scale"], told["covered_seconds"]) == (scale, covered.total_seconds())


@pytest.mark.parametrize("way", SHOWN)
@pytest.mark.parametrize("kind", REPORTS)
def test_a_day_on_which_recording_began_is_called_neither_a_day_nor_so_far(way, kind):
    afternoon = timedelta(hours=14, minutes=16)
    text = said(SHOWN[way](report(DAY - afternoon, after=afternoon, **REPORTS[kind]), []))

    assert A_DAY.findall(OF_A_DAY.sub("", text)) == []
    assert "so far" not in text.lower()
    assert "28 March 2026: 9 h 44 min of it, since recording began at 14:16" in text
    assert "Recording began at 14:16: all sums cover 9 h 44 min and not a day" in text
    assert "goes on like the 9 h 44 min since recording began" in text


@pytest.mark.parametrize("way", SHOWN)
def test_what_has_passed_since_recording_began_says_both(way):
    text = said(SHOWN[way](report(MINUTES, after=timedelta(hours=14)), []))

    assert "28 March 2026, so far: 10 min of it, since recording began at 14:00" in text
    assert "560 ms so far" in text
    # 600 ms of the ten minutes, and not of fourteen hours.
    assert "busy with queries for 0.10 % of the time, less than 1 %" in text


def test_a_report_of_an_earlier_version_is_of_a_day():
    made = report(DAY)
    kept = json.loads(made.model_dump_json())
    for new in ("scale", "covered_seconds", "recording_began", "comparison"):
        del kept[new]
    older = type(made).model_validate(kept)
    shown = said(terminal(older, []))
    assert "560 ms a day" in shown
    assert "With and without" not in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (600, "10 min"), (3_599, "1 h"), (12_000, "3 h 20 min")],
)
def test_a_span_is_told_to_the_minute(seconds, shown):
    assert formatting.span(seconds) == shown


# --- with and without a cache -------------------------------------------------------------------


@pytest.mark.parametrize("way", SHOWN)
@pytest.mark.parametrize("kind", ["saves time", "worth money", "too quick"])
def test_what_the_cache_changes_is_a_table_in_every_form(way, kind):
    made = report(DAY, **REPORTS[kind])
    text = said(SHOWN[way](made, []))

    assert "with and without a cache" in text.lower()
    for figure in made.comparison.figures:
        if figure.unit == "queries":
            row = formatting.count(figure.without_cache), formatting.count(figure.with_cache)
            assert re.search(rf"Queries to the database a day\W+{row[0]}\W+{row[1]}\W", text)
    assert ("Balance a month" in text) == (kind == "worth money")
    assert ("went through one anyway" in text) == (kind == "too quick")


@pytest.mark.parametrize("way", SHOWN)
def test_where_nothing_could_be_cached_there_is_nothing_to_compare(way):
    made = report(DAY, executions=0)
    assert made.comparison is None
    assert "with and without" not in said(SHOWN[way](made, [])).lower()


@pytest.mark.parametrize("way", SHOWN)
def test_where_nothing_is_worth_it_what_repeats_most_says_why_not(way):
    made = report(DAY, milliseconds=0.4)
    [template] = made.analysis.most_repeated
    text = said(SHOWN[way](made, []))
    assert "repeated most, and why not to cache it" in text.lower()
    assert f"Not worth caching: {template.not_worth}." in text
    assert made.reason == "no query is worth caching: the cache would hardly answer sooner than the database"


def databases(*names, milliseconds=(30, 40)):
    """One text, in each of these databases."""
    made = report(DAY)
    [template] = made.analysis.most_worth
    each = tuple(
        template.model_copy(update={"database": name, "mean_duration_ms": took})
        for name, took in zip(names, milliseconds, strict=True)
    )
    analysis = made.analysis.model_copy(update={"most_worth": each, "most_repeated": each})
    return made.model_copy(update={"analysis": analysis})


@pytest.mark.parametrize("way", SHOWN)
def test_the_database_is_named_where_one_text_is_of_several(way):
    text = said(SHOWN[way](databases("shop", "app\x1b[31m"), []))
    # Among those to cache first, and among those repeated most.
    for name in ("shop", "app\N{REPLACEMENT CHARACTER}[31m"):
        assert len(re.findall(f"[Dd]atabase {re.escape(name)}", text)) >= 2

    one = said(SHOWN[way](databases("shop", "shop"), []))
    assert "atabase shop" not in one
    assert "a database without a name" in said(SHOWN[way](databases("shop", ""), []))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((84_000, 7_800, -76_200), ["84.0 s", "7.8 s", "-76.2 s"]),
        ((46_000, 71_800, 72_400, 75_100), ["46.0 s", "71.8 s", "72.4 s", "75.1 s"]),
        ((559.5, 0.8, 0.0), ["560 ms", "0.8 ms", "0 ms"]),
        ((9_999, 20), ["9,999 ms", "20.0 ms"]),
        ((14_760_000, 1, 0.0, -1), ["246 min", "<0.1 min", "0 min", "0.0 min"]),
        ((0.0, 0.0), ["0 ms", "0 ms"]),
        ((float("nan"), 20_000), ["not known", "20.0 s"]),
        ((), []),
    ],
)
def test_what_is_compared_is_in_one_unit(values, shown):
    assert formatting.durations(values) == shown


@pytest.mark.parametrize("way", SHOWN)
def test_the_columns_of_a_table_have_one_unit_each(way):
    # 0.8 s of 16 s are left: once in milliseconds, once in seconds.
    text = said(SHOWN[way](report(DAY, milliseconds=800), []))
    [row] = re.findall(r"Time that queries take a day ([-+0-9., a-z]*?)(?= [A-Z])", text)
    assert len(set(re.findall(r"(ms|s|min|h)\b", row))) == 1


@pytest.mark.parametrize(
    ("writes", "invalidate", "said_in_it"),
    [(0, False, "none seen"), (3, False, "may be ignored"), (3, True, "must drop it")],
)
def test_writes_are_called_the_same_in_the_terminal_and_on_the_page(writes, invalidate, said_in_it):
    made = report(DAY)
    [template] = made.analysis.most_worth
    advice = template.advice.model_copy(update={"invalidate": invalidate})
    template = template.model_copy(update={"writes": writes, "advice": advice})
    made = made.model_copy(update={"analysis": made.analysis.model_copy(update={"most_worth": (template,)})})

    assert said_in_it in said(terminal(made, []))
    assert said_in_it in said(page(made, []))


@pytest.mark.parametrize("way", SHOWN)
def test_what_was_dropped_and_what_was_sampled_do_not_contradict_each_other(way):
    made = report(DAY)
    sample = made.analysis.sample.model_copy(update={"dropped": 15})
    made = made.model_copy(update={"analysis": made.analysis.model_copy(update={"sample": sample})})
    text = said(SHOWN[way](made, []))

    assert "Executions dropped 15 75.0 % of those counted" in text
    assert "Lowest sample rate 100 %" in text
    assert "dropped 15" not in said(SHOWN[way](report(DAY), []))
