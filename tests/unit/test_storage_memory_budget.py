import pytest

from otel_ratelimit.core.errors import SettingsError
from otel_ratelimit.storage.memory_budget import parse_capacity, parse_interval


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50MB", 50_000_000),
        ("50 mb", 50_000_000),
        ("64MiB", 67_108_864),
        ("1.5GB", 1_500_000_000),
        ("2000000", 2_000_000),
        (3_000_000, 3_000_000),
        (3e6, 3_000_000),
        ("5000KB", 5_000_000),
    ],
)
def test_a_capacity_is_bytes_or_a_number_with_a_unit(text, size):
    assert parse_capacity(text, "capacity") == size


@pytest.mark.parametrize("text", ["", "MB", "50 M", "-5MB", "many", "1e9x", "\u0665MB", "nan", "inf"])
def test_what_is_not_a_size_is_refused_and_the_right_form_shown(text):
    with pytest.raises(SettingsError, match=r"capacity: .* is not a size; write bytes, or 50MB"):
        parse_capacity(text, "capacity")


def test_a_capacity_too_small_to_be_of_use_is_refused():
    with pytest.raises(SettingsError, match="at least 1MB"):
        parse_capacity("999KB", "capacity")


@pytest.mark.parametrize(("text", "seconds"), [("60", 60.0), (0.5, 0.5), (30, 30.0)])
def test_an_interval_is_a_number_of_seconds(text, seconds):
    assert parse_interval(text, "cleanup_interval") == seconds


@pytest.mark.parametrize("text", ["0", -1, "soon", "nan", "inf", ""])
def test_what_is_not_a_positive_number_of_seconds_is_refused(text):
    with pytest.raises(SettingsError, match="cleanup_interval"):
        parse_interval(text, "cleanup_interval")
