"""Valid query strings of the API, and the errors for invalid ones."""

from __future__ import annotations

import pytest

from otel_ratelimit.web.api.analytics_models import AnalyticsParameters
from otel_ratelimit.web.api.cache_analysis_models import CacheAnalysisParameters
from otel_ratelimit.web.api.parameters import MAX_QUERY_BYTES, NoParameters, parse
from otel_ratelimit.web.api.problems import ProblemError
from otel_ratelimit.web.api.status_models import StatusParameters


def errors(model, query):
    with pytest.raises(ProblemError) as raised:
        parse(model, query)
    assert raised.value.status == 400
    return {error.parameter: f"{error.what}; {error.instead}" for error in raised.value.errors}


def test_an_empty_query_is_all_defaults():
    asked = parse(AnalyticsParameters, b"")
    assert asked.date_range == "24h"
    assert (asked.group_by, asked.page, asked.page_size) == ("endpoint", 1, 50)
    assert asked.max_rejected_share == 0.01
    assert asked.endpoint is None
    assert asked.service is None
    assert parse(CacheAnalysisParameters, b"").date_range == "30d"


def test_values_are_read_as_forms_write_them():
    asked = parse(AnalyticsParameters, b"endpoint=%2Fapi%2Fjobs%2F%3Cint%3Aid%3E&service=a+b%C3%A9&&page=3")
    assert asked.endpoint == "/api/jobs/<int:id>"
    assert asked.service == "a bé"
    assert asked.page == 3


def test_raw_utf8_is_read_too():
    assert parse(AnalyticsParameters, "service=é".encode()).service == "é"


def test_all_mistakes_are_named_at_once():
    found = errors(StatusParameters, b"path=x&method=get&ip=a&user=&pth=1")
    assert set(found) == {"path", "method", "ip", "user", "pth"}
    assert "begin with /" in found["path"]
    assert "GET" in found["method"]
    assert "for instance ip=192.0.2.7" in found["ip"]
    assert "is empty" in found["user"]
    assert "did you mean path?" in found["pth"]


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    assert "known are date_range" in errors(AnalyticsParameters, b"zzz=1")["zzz"]
    assert "this endpoint takes none" in errors(NoParameters, b"zzz=1")["zzz"]


def test_a_value_for_an_unknown_parameter_is_not_repeated():
    assert "secret" not in str(errors(NoParameters, b"access_token=secret"))


def test_a_parameter_given_twice_is_refused_even_with_equal_values():
    assert "more than once" in errors(AnalyticsParameters, b"page=1&page=1")["page"]


@pytest.mark.parametrize("query", [b"service=", b"service"])
def test_an_empty_value_is_refused(query):
    assert "is empty" in errors(AnalyticsParameters, query)["service"]


@pytest.mark.parametrize("query", [b"service=a%00b", b"service=%0d%0aX: y", b"service=%7f"])
def test_a_control_character_is_refused(query):
    assert "control character" in errors(AnalyticsParameters, query)["service"]


@pytest.mark.parametrize("query", [b"service=%ff", b"service=\xff", b"service=%ed%a0%80", b"service=%c0%80"])
def test_what_is_not_utf8_is_refused(query):
    assert "not UTF-8" in errors(AnalyticsParameters, query)["service"]


def test_a_name_that_is_not_utf8_is_refused():
    assert "not UTF-8" in errors(AnalyticsParameters, b"%ff=1")[""]


def test_a_very_long_query_is_refused_before_it_is_read():
    assert "bytes" in errors(StatusParameters, b"path=/" + b"a" * MAX_QUERY_BYTES)[""]


def test_a_long_value_is_refused_and_quoted_only_in_part():
    found = errors(StatusParameters, b"path=/&user=" + b"a" * 257)["user"]
    assert "256" in found
    assert len(found) < 250


@pytest.mark.parametrize(
    "page", ["0", "-1", "+1", "%201", "1_0", "1.0", "1e3", "٣", "10001", "9" * 5000, "0x1", "true"]
)
def test_a_page_is_a_whole_number_within_bounds(page):
    assert "page" in errors(AnalyticsParameters, f"page={page}".encode())


@pytest.mark.parametrize("share", ["nan", "inf", "-0.1", "1.1", "1e999", "1_0", "0x1", "", "%200"])
def test_a_share_is_a_number_from_0_to_1(share):
    assert "max_rejected_share" in errors(AnalyticsParameters, f"max_rejected_share={share}".encode())


@pytest.mark.parametrize(("text", "share"), [("0", 0.0), ("1", 1.0), ("0.05", 0.05), ("5e-3", 0.005)])
def test_a_share_may_be_written_as_any_decimal(text, share):
    assert parse(AnalyticsParameters, f"max_rejected_share={text}".encode()).max_rejected_share == share


@pytest.mark.parametrize("path", ["jobs", "", "/a?b=1".replace("?", "%3F"), "/a%23b", "http://x/"])
def test_a_path_begins_with_a_slash_and_has_no_query(path):
    assert "path" in errors(StatusParameters, f"path={path}".encode())


@pytest.mark.parametrize("ip", ["192.0.2.7", "2001:db8::1"])
def test_an_address_of_either_version_is_read(ip):
    assert str(parse(StatusParameters, f"path=/&ip={ip}".encode()).ip) == ip


@pytest.mark.parametrize("ip", ["192.0.2", "192.0.2.7:80", "192.0.2.0/24", "localhost", "3221225991"])
def test_what_is_no_address_is_refused(ip):
    assert "ip" in errors(StatusParameters, f"path=/&ip={ip}".encode())


def test_a_missing_parameter_is_named():
    assert "is missing; for instance path=" in errors(StatusParameters, b"ip=192.0.2.7")["path"]
