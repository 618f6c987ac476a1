"""Limits: all of the text counts, and what is wrong is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.policy.invalid_value import InvalidValueError
from otel_ratelimit.policy.limit_notation import parse_limits

UNIT_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "month": 30 * 86_400,
    "year": 360 * 86_400,
}


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("10/minute", [(10, 60)]),
        ("10 per minute", [(10, 60)]),
        ("10 PER Minutes", [(10, 60)]),
        ("10/5minute", [(10, 300)]),
        ("10 / 5 minutes", [(10, 300)]),
        (" 10/minute ; 50/hour ", [(10, 60), (50, 3600)]),
        ("50/hour, 10/minute", [(10, 60), (50, 3600)]),
        ("50/hour|10/minute|1/second", [(1, 1), (10, 60), (50, 3600)]),
        ("1000000000000/day", [(10**12, 86_400)]),
    ],
)
def test_limits_are_read_shortest_window_first(text, windows):
    assert [(item.amount, item.get_expiry()) for item in parse_limits(text)] == windows


@pytest.mark.parametrize(
    ("text", "what", "instead"),
    [
        ("10/minuet", "'10/minuet': 'minuet' is not a unit of time", "did you mean 'minute'?"),
        ("10/fortnight", "'10/fortnight': 'fortnight' is not a unit of time", "known are day, hour, minute"),
        ("ten per minute", "'ten per minute' is not a limit", "write for instance 10/minute"),
        ("10/minute garbage", "'10/minute garbage' is not a limit", "write for instance 10/minute"),
        ("10/minute 5/hour", "'10/minute 5/hour' is not a limit", "write for instance 10/minute"),
        ("10/minute; oops", "'oops' is not a limit", "write for instance 10/minute"),
        ("10/minute;", "'' is not a limit", "write for instance 10/minute"),
        ("", "'' is not a limit", "write for instance 10/minute"),
        ("-1/minute", "'-1/minute' is not a limit", "write for instance 10/minute"),
        ("1.5/minute", "'1.5/minute' is not a limit", "write for instance 10/minute"),
        ("10", "'10' is not a limit", "write for instance 10/minute"),
        ("10 minute", "'10 minute' is not a limit", "write for instance 10/minute"),
        ("10/minute\x00", "'10/minute\\x00' is not a limit", "write for instance 10/minute"),
        ("\u0661\u0660/minute", "'\u0661\u0660/minute' is not a limit", "write for instance 10/minute"),
        ("0/minute", "'0/minute' would refuse every request", "use at least 1"),
        ("10/0 minute", "'10/0 minute' would refuse every request", "use at least 1"),
        ("1000000000001/day", "'1000000000001/day' is beyond what can be counted", "at most 10^12"),
        ("1/11 years", "'1/11 years' is beyond what can be counted", "at most 10^12 in ten years"),
        (
            "10/minute; 20/minute",
            "'10/minute; 20/minute' has two limits for the same window",
            "keep the smaller",
        ),
        ("10/minute; 1/60 seconds", "has two limits for the same window", "keep the smaller one"),
    ],
)
def test_what_is_not_a_limit_is_refused_and_explained(text, what, instead):
    with pytest.raises(InvalidValueError) as caught:
        parse_limits(text)
    assert what in caught.value.what
    assert instead in caught.value.instead


def test_a_number_of_thousands_of_digits_is_refused_like_any_other():
    with pytest.raises(InvalidValueError) as caught:
        parse_limits("9" * 5000 + "/minute")
    assert "beyond what can be counted" in caught.value.what
    assert len(caught.value.what) < 300


@given(
    amount=st.integers(1, 10**12),
    multiples=st.none() | st.integers(1, 9),
    unit=st.sampled_from(sorted(UNIT_SECONDS)),
    by=st.sampled_from(["/", " / ", " per ", " PER "]),
    plural=st.booleans(),
)
def test_every_well_formed_limit_is_read_as_it_is_written(amount, multiples, unit, by, plural):
    text = f"{amount}{by}{'' if multiples is None else f'{multiples} '}{unit}{'s' if plural else ''}"
    (item,) = parse_limits(text)
    assert item.amount == amount
    assert item.get_expiry() == (multiples or 1) * UNIT_SECONDS[unit]


@given(st.text(alphabet="0159/per minutehourdays;,|x-.\n", max_size=30) | st.text(max_size=30))
def test_any_other_text_is_refused_or_read_whole(text):
    try:
        items = parse_limits(text)
    except InvalidValueError:
        return
    # Nothing may have been skipped: as many limits as parts, and their amounts are the parts' first numbers.
    parts = re.split("[;,|]", text)
    assert sorted(item.amount for item in items) == sorted(
        int(part.split("/")[0].split("p")[0]) for part in parts
    )
