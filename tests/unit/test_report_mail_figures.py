"""How figures are written in the report: shares, intervals, amounts, reasons."""

from __future__ import annotations

import pytest

from otel_ratelimit.reports.rendering import formatting, phrases


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.6244, "62.4 %"),
        (0.0, "0.0 %"),
        (-1e-12, "0.0 %"),
        (0.0004, "<0.1 %"),
        (0.9998, ">99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_share_is_neither_nothing_nor_all_unless_it_is(value, said):
    assert formatting.share(value) == said


def test_an_interval_is_said_where_there_is_one():
    assert formatting.share_between(0.624, 0.619, 0.629) == "62.4 % (61.9 to 62.9)"
    assert formatting.share_between(0.5, 0.5, 0.5) == "50.0 %"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (formatting.count(1_234_567.4), "1,234,567"),
        (formatting.brief_count(1_234_567), "1.2 M"),
        (formatting.brief_count(999_999), "1.0 M"),
        (formatting.brief_count(999), "999"),
        (formatting.size(999), "999 B"),
        (formatting.size(1_500), "1.5 kB"),
        (formatting.size(999_960), "1.0 MB"),
        (formatting.size(2.5e9), "2.5 GB"),
        (formatting.duration(0.8), "0.8 ms"),
        (formatting.duration(0.0), "0 ms"),
        (formatting.duration(-1e-9), "0 ms"),
        (formatting.duration(0.001), "<0.01 ms"),
        (formatting.duration(3_200), "3.2 s"),
        (formatting.duration(-4_900), "-4.9 s"),
        (formatting.duration(4.1 * 3.6e6), "4.1 h"),
        (formatting.ttl(30), "30 s"),
        (formatting.ttl(600), "10 min"),
        (formatting.ttl(7_200), "2 h"),
        (formatting.ttl(5_400), "90 min"),
        (formatting.money(12.34, "USD"), "12.34 USD"),
        (formatting.money(-0.001, "EUR"), "0.00 EUR"),
        (formatting.money(0.001, "EUR"), "less than 0.01 EUR"),
        (formatting.unit_money(1e-5, "USD"), "0.00001 USD"),
        (formatting.one_in(1 / 16), "1 in 16"),
        (formatting.printable("a\n\tb\x1b[31m\u202ec"), "a b\ufffd[31m\ufffdc"),
    ],
)
def test_figures_read_as_people_write_them(shown, said):
    assert shown == said


@pytest.mark.parametrize(
    "figure", [formatting.count, formatting.share, formatting.size, formatting.duration, formatting.ttl]
)
def test_what_is_no_number_is_not_known(figure):
    assert figure(float("nan")) == figure(float("inf")) == "not known"


def test_a_reason_loses_the_sign_of_a_zero_only():
    assert (
        phrases.sentence("it takes -0.0 % off; brings -0.00 a month")
        == "It takes 0.0 % off; brings 0.00 a month."
    )
    assert phrases.sentence("it brings -0.05 on 2026-01-01") == "It brings -0.05 on 2026-01-01."
