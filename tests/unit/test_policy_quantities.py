"""Sizes and durations: all of the text counts, and what is wrong is said."""

from __future__ import annotations

import pytest

from otel_ratelimit.policy.invalid_value import InvalidValueError
from otel_ratelimit.policy.quantities import parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        (52_428_800, 52_428_800),
        ("52428800", 52_428_800),
        ("50 MB", 50_000_000),
        ("50MB", 50_000_000),
        ("48 MiB", 48 * 2**20),
        ("48 mib", 48 * 2**20),
        ("1.5 GiB", 3 * 2**29),
        ("64k", 64_000),
        ("100 B", 100),
    ],
)
def test_sizes(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("inf"),
        float("nan"),
        "",
        "MB",
        "50 TB",
        "-1 MB",
        "50 MB x",
        "9" * 400,
    ],
)
def test_what_is_not_a_size_is_refused(value):
    with pytest.raises(InvalidValueError, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (60, 60.0),
        (0.5, 0.5),
        ("60", 60.0),
        ("60s", 60.0),
        ("250 ms", 0.25),
        ("5m", 300.0),
        ("12h", 43_200.0),
        ("30d", 2_592_000.0),
        ("2w", 1_209_600.0),
    ],
)
def test_durations(value, seconds):
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [float("nan"), "", "5 minutes", "1y", "-5s", "1h30m"],
)
def test_what_is_not_a_duration_is_refused(value):
    with pytest.raises(InvalidValueError, match="is not a duration"):
        parse_duration(value)


@pytest.mark.parametrize("value", [0, -5, 0.0, "0", "0s", "0d", "0.0 h"])
def test_a_duration_must_be_longer_than_zero(value):
    with pytest.raises(InvalidValueError, match="must be longer than zero"):
        parse_duration(value)


@pytest.mark.parametrize("value", [10**400, float("inf"), "9" * 400, "4000d"])
def test_a_duration_may_be_ten_years_at_most(value):
    with pytest.raises(InvalidValueError, match="is longer than ten years"):
        parse_duration(value)


@pytest.mark.parametrize("value", [0, -1, "0 MB", "0.1 B"])
def test_a_size_must_be_at_least_one_byte(value):
    with pytest.raises(InvalidValueError, match="must be at least one byte"):
        parse_size(value)
