"""`policy show` has every key that a policy can have, and says which the file gives."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from otel_ratelimit.cli import main
from otel_ratelimit.cli import policy_show_tables as policy_text
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.policy.cache import CachePrice
from otel_ratelimit.policy.model import ClientRule, Policy, RouteRule
from otel_ratelimit.policy.toml_table import TomlTable

WHOLE = """\
version = 1
exempt = ["/health"]

[tiers]
expensive = "1/minute"

[memory]
capacity = "10 MB"

[[routes]]
match = "POST /api/ai/*"
tier = "expensive"
cost = 1

[[clients]]
match = "user:bob"
multiply = 5

[[cache.prices]]
name = "own"
kind = "self-hosted"
month = 30
"""
LISTS = {"routes": RouteRule, "clients": ClientRule, "cache.prices": CachePrice}


@pytest.fixture
def show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTEL_RATELIMIT_POLICY", raising=False)

    def show(text, *options):
        (tmp_path / "p.toml").write_text(text)
        done = CliRunner().invoke(main, ["policy", "show", *options, "p.toml"], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    return show


def every_place(table=Policy, above=""):
    """Each key of the model as a path; of a list of tables, in its first entry."""
    for key, field in table.known_keys().items():
        place = f"{above}{key}"
        inner = field.annotation
        if place in LISTS:
            yield from every_place(LISTS[place], f"{place}[0].")
        elif isinstance(inner, type) and issubclass(inner, TomlTable):
            yield from every_place(inner, f"{place}.")
        else:
            yield place


def settings(text):
    found = policy_text.sections(parse_policy(text, "p.toml"))
    return {each.place: each for section in found for each in section.settings}


def test_every_key_of_the_model_is_shown():
    shown = {*settings(WHOLE), "tiers", *(f"routes[0].{key}" for key in RouteRule.known_keys())}
    assert set(every_place()) == shown
    assert len(policy_text.RULE_COLUMNS) == len(RouteRule.known_keys()) + 2  # with its number and its line


def test_every_section_and_key_is_in_the_text(show):
    lines = show(WHOLE).splitlines()
    begins = {line.split()[0] for line in lines if line.strip()}
    assert {place.rpartition(".")[2] for place in settings(WHOLE)} <= begins
    titles = [line.strip() for line in lines if line.startswith("[")]
    assert titles == [
        *("[[clients]] 0", "[unmatched]", "[identity]", "[memory]", "[analytics]", "[cache]"),
        *("[[cache.prices]] 0", "[report]", "[responses]"),
    ]


def test_defaults_are_told_from_what_the_file_gives():
    found = settings(WHOLE)
    assert (found["version"].source, found["exempt"].source) == ("p.toml:1", "p.toml:2")
    assert found["memory.capacity"].source == "p.toml:8"
    assert found["cache.prices[0].month"].source == "p.toml:22"
    assert (found["analytics.retention"].value, found["analytics.retention"].source) == ("30d", "default")
    # Given by nobody, and no default either: the capacity makes them.
    assert {found[f"memory.{key}"].source for key in ("warning", "critical")} == {policy_text.FOLLOWS}
    assert {each.source for each in settings("version = 1").values()} == {"default", "p.toml:1"}


def test_a_default_that_the_file_repeats_is_given_by_the_file():
    found = settings('version = 1\nanalytics = {batch_size = 10, client_addresses = "whole"}\n')
    assert found["analytics.batch_size"].source == found["analytics.client_addresses"].source == "p.toml:2"
    assert found["analytics.retention"].source == "default"


def test_what_a_rule_does_not_give_is_marked():
    policy = parse_policy(WHOLE.replace("version = 1", 'version = 1\nkey = "ip"'), "p.toml")
    row = dict(zip(policy_text.RULE_COLUMNS, policy_text.rule_rows(policy)[0], strict=True))
    assert (row["KEY"], row["COST"], row["FROM"]) == ("ip*", "1", "p.toml:11")
    assert policy_text.tier_rows(policy)[0] == ("expensive", "1/minute", "p.toml:6")
    assert policy_text.tier_rows(policy)[1][2] == "default"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('flush_interval = "90m"', "5400s"),
        ('flush_interval = "2h"', "2h"),
        ("flush_interval = 0.25", "0.25s"),
        ('retention = "36h"', "36h"),
        ('retention = "400d"', "400d"),
    ],
)
def test_durations_read_as_in_a_file(line, shown):
    assert settings(f"version = 1\n[analytics]\n{line}\n")[f"analytics.{line.split()[0]}"].value == shown


def test_names_with_dots_are_found_again():
    policy = parse_policy('version = 1\n[tiers]\n"a.b" = "1/minute"\ndefault = "2/minute"\n', "p.toml")
    assert {name: source for name, _, source in policy_text.tier_rows(policy)}["a.b"] == "p.toml:3"


def test_as_json_it_is_whole_too_and_says_what_is_given(show):
    document = json.loads(show(WHOLE, "--json"))
    assert set(Policy.known_keys()) <= set(document)
    assert document["analytics"]["retention"] == 2_592_000.0
    assert document["given"]["memory.capacity"] == "p.toml:8"
    assert document["given"]["routes[0].tier"] == "p.toml:12"
    assert document["given"]["tiers.expensive"] == "p.toml:5"
    assert "memory.warning" not in document["given"]
