"""`[report]`: what it takes, and what is said of what it does not take."""

from __future__ import annotations

import json
import re
import zoneinfo
from datetime import UTC, time

import pytest
from click.testing import CliRunner

from otel_ratelimit.cli import main
from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import builtin_policy, parse_policy, policy_hash

WHOLE = """\
version = 1
[report]
to = ["team@example.com", "on.call@example.com"]
from = "limits@example.com"
time_zone = "America/Argentina/Buenos_Aires"
at = "23:59"
"""


def report(line):
    return parse_policy(f"version = 1\n[report]\n{line}\n", "p.toml").report


def problem(line):
    with pytest.raises(PolicyError) as caught:
        report(line)
    (found,) = caught.value.problems
    return str(found)


def test_without_the_table_nobody_is_mailed_and_the_day_is_that_of_utc():
    read = builtin_policy().report
    assert (read.to, read.sender, read.zone) == ((), None, UTC)
    assert read.starts_at == time(0, 15)


def test_the_table_is_read_as_it_is_written():
    read = parse_policy(WHOLE, "p.toml").report
    assert read.to == ("team@example.com", "on.call@example.com")
    assert read.sender == "limits@example.com"
    assert read.zone == zoneinfo.ZoneInfo("America/Argentina/Buenos_Aires")
    assert read.starts_at == time(23, 59)


@pytest.mark.parametrize("address", ["a@b", "a.b+c@d-e.f", "a@[192.0.2.1]", "o'neill@example.com"])
def test_an_address_is_taken(address):
    assert report(f'to = ["{address}"]').to == (address,)


@pytest.mark.parametrize(
    "address",
    [
        "team",
        "team@",
        "@example.com",
        "team@@example.com",
        "a..b@example.com",
        "a@example..com",
        "<team@example.com>",
        "a@example.com,b@example.com",
        "(x)a@example.com",
    ],
)
def test_what_is_no_address_is_refused_where_it_stands(address):
    assert problem(f'to = [\n"a@example.com",\n"{address}"]') == (
        f"p.toml:5: report.to[1]: {address!r} is not an e-mail address; write the address alone,"
        ' for instance "team@example.com"'
    )


@pytest.mark.parametrize(
    "address",
    [
        "",
        r"a@example.com\r\nBcc: b@example.com",
        r"a@example.com\n",
        r"a\u0000@example.com",
        "Team <team@example.com>",
        "a b@example.com",
        "tëam@example.com",
        "team@bücher.example",
    ],
)
def test_nothing_gets_into_a_header_by_way_of_an_address(address):
    for line in (f'from = "{address}"', f'to = ["{address}"]'):
        assert (
            "has a character that not every mail server accepts in an address; use ASCII without"
            in problem(line)
        )


def test_an_address_that_no_server_need_take_is_refused():
    assert "is too long for an address" in problem(f'from = "{"a" * 65}@example.com"')
    assert "is too long for an address" in problem(f'from = "a@{"b" * 250}.com"')


def test_an_address_that_is_there_twice_is_refused_however_it_is_written():
    assert problem('to = ["team@example.com", "Team@example.com"]') == (
        "p.toml:3: report.to: 'Team@example.com' is there twice; each address gets the report once"
    )


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Berlin", "did you mean 'Europe/Berlin'?"),
        ("utc", "did you mean 'UTC'?"),
        ("nowhere at all", 'write for instance "Europe/Berlin", or "UTC"'),
        ("", 'write for instance "Europe/Berlin", or "UTC"'),
        ("right/Europe/Berlin", "did you mean 'Europe/Berlin'?"),
        ("posixrules", 'write for instance "Europe/Berlin", or "UTC"'),
        ("../../etc/passwd", 'write for instance "Europe/Berlin", or "UTC"'),
        ("/etc/passwd", 'write for instance "Europe/Berlin", or "UTC"'),
    ],
)
def test_an_unknown_time_zone_is_named_with_its_neighbour(name, instead):
    found = problem(f'time_zone = "{name}"')
    assert found == f"p.toml:3: report.time_zone: {name!r} is not a time zone; {instead}"


def test_a_folder_of_zones_is_none():
    assert "'Europe' is not a time zone" in problem('time_zone = "Europe"')


def test_without_a_database_of_zones_utc_still_is_one_and_what_to_do_is_said():
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        if zoneinfo.available_timezones():
            pytest.skip("the package tzdata is installed")
        assert report('time_zone = "UTC"').zone == UTC
        assert "there is no time zone database here: install" in problem('time_zone = "Europe/Berlin"')
    finally:
        zoneinfo.reset_tzpath(to=before)


@pytest.mark.parametrize(
    "value", ['"24:00"', '"0:15"', '"00:60"', '"00:15:00"', '"noon"', "15", "true", "[]"]
)
def test_what_is_no_time_of_day_is_refused(value):
    assert "is not a time of day; write hours and minutes, for instance" in problem(f"at = {value}")


def test_a_time_without_quotes_is_shown_as_it_stands():
    assert problem("at = 00:15:00").startswith("p.toml:3: report.at: 00:15:00 is not a time of day")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("form = 'a@b'", "report.form: unknown key 'form'; did you mean 'from'?"),
        ("sender = 'a@b'", "report.sender: unknown key 'sender'; known are at, from, time_zone, to"),
        ("from = 5", "report.from: 5 is not text"),
        ("to = 'a@b'", "report.to: 'a@b' is not a list"),
        ("to = [5]", "report.to[0]: 5 is not text"),
        ("time_zone = 2", "report.time_zone: 2 is not text"),
    ],
)
def test_a_mistake_is_told_by_the_key_of_the_file(line, expected):
    assert problem(line) == f"p.toml:3: {expected}"


def test_policy_show_has_the_table_with_the_keys_of_the_file(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text(WHOLE)
    shown = CliRunner().invoke(main, ["policy", "show", str(file)]).output
    shown = shown.split("[report]", 1)[1].split("[responses]", 1)[0]
    for key, value in (
        ("to", '["team@example.com", "on.call@example.com"]'),
        ("from", '"limits@example.com"'),
        ("time_zone", '"America/Argentina/Buenos_Aires"'),
        ("at", '"23:59"'),
    ):
        assert re.search(rf"^{key} +{re.escape(value)} +p.toml:[0-9]+ *$", shown, flags=re.MULTILINE), key
    document = json.loads(CliRunner().invoke(main, ["policy", "show", "--json", str(file)]).output)
    assert document["report"] == {
        "to": ["team@example.com", "on.call@example.com"],
        "from": "limits@example.com",
        "time_zone": "America/Argentina/Buenos_Aires",
        "at": "23:59",
    }


def test_policy_show_says_that_nobody_is_mailed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTEL_RATELIMIT_POLICY", raising=False)
    shown = CliRunner().invoke(main, ["policy", "show"]).output
    report = shown.split("[report]", 1)[1]
    assert re.search(r"^to +\[\] +default *$", report, flags=re.MULTILINE)
    assert re.search(r'^at +"00:15" +default *$', report, flags=re.MULTILINE)


def test_another_sender_is_another_policy():
    assert policy_hash(parse_policy(WHOLE, "p.toml")) != policy_hash(
        parse_policy(WHOLE.replace("limits@", "other@"), "p.toml")
    )
