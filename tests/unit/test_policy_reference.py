"""The page on the policy file says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_lists import list_items
from pydantic_core import PydanticUndefined

from otel_ratelimit.cache_advice.prices import PRICES
from otel_ratelimit.cli import main
from otel_ratelimit.policy.cache import Cache, CachePrice
from otel_ratelimit.policy.defaults import BUILT_IN_EXEMPT, BUILT_IN_TIERS
from otel_ratelimit.policy.model import (
    Analytics,
    ClientRule,
    IdentityTable,
    Memory,
    Policy,
    Responses,
    RouteRule,
)
from otel_ratelimit.policy.quantities import parse_duration, parse_size
from otel_ratelimit.policy.report import Report
from otel_ratelimit.policy.route_pattern import RoutePattern

PAGE = (Path(__file__).parents[2] / "docs/reference/policy.md").read_text()
ENTRY = re.compile(r"`(\w+)` \(([^)]+)\): ")
"""A key, its type and, after a semicolon, its default or that it is required."""
TABLES = {
    "Top level": Policy,
    "`[[routes]]`": RouteRule,
    "`[[clients]]`": ClientRule,
    "`[identity]`": IdentityTable,
    "`[memory]`": Memory,
    "`[analytics]`": Analytics,
    "`[cache]`": Cache,
    "`[[cache.prices]]`": CachePrice,
    "`[report]`": Report,
    "`[responses]`": Responses,
}


def stated_defaults(heading):
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    for item in list_items(section):
        if found := ENTRY.match(item):
            kind, _, default = found[2].partition("; ")
            yield found[1], kind, default.removeprefix("default: ")


@pytest.mark.parametrize("heading", TABLES)
def test_the_defaults_are_those_of_the_model(heading):
    assert {key for key, _, _ in stated_defaults(heading)} == set(TABLES[heading].known_keys())
    readers = {"size": parse_size, "duration": parse_duration, "number": float, "whole number": int}
    for key, kind, default in stated_defaults(heading):
        actual = TABLES[heading].known_keys()[key].default
        if default == "required":
            assert actual is PydanticUndefined, key
        elif default.startswith("`"):
            text = default.strip("`").strip('"')
            reader = readers.get(kind, lambda value: {"true": True, "false": False}.get(value, value))
            assert str(reader(text)) == str(actual), key


def test_the_built_in_tiers_and_exemptions_are_named():
    for name, limits in BUILT_IN_TIERS.items():
        assert f"`{name}` {limits}" in " ".join(PAGE.split())
    assert all(f"`{pattern}`" in PAGE for pattern in BUILT_IN_EXEMPT)


def test_the_built_in_prices_of_a_cache_are_named_as_they_are():
    section = " ".join(PAGE.split("\n## `[[cache.prices]]`\n", 1)[1].split("\n## ", 1)[0].split())
    for price in PRICES:
        assert f"{price.name} ({price.gb_hour}" in section
        assert str(price.million_requests) in section
        assert f"at least {price.least_bytes / 1e6:g} MB" in section.replace("1 GB", "1000 MB")
        assert f"as listed on {price.as_of}" in section
    assert len(PRICES) == 2


def test_the_mistakes_are_told_as_the_page_shows(tmp_path, monkeypatch):
    section = PAGE.split("\n## Mistakes\n", 1)[1]
    (text,) = re.findall(r"```text\n(.*?)```", section, flags=re.DOTALL)
    (shown,) = re.findall(r"```console\n\$ otel-ratelimit (.*?)\n(.*?)```", section, flags=re.DOTALL)
    (tmp_path / "ratelimit.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTEL_RATELIMIT_POLICY", raising=False)
    result = CliRunner().invoke(main, shown[0].split())
    assert result.exit_code == 1
    # The page wraps a long line, and begins the rest of it with four spaces.
    assert result.output == shown[1].replace("\n    ", " ")


@pytest.mark.parametrize(
    ("pattern", "matched", "passed"),
    [
        ("/api/jobs", ["GET /api/jobs", "PUT /api/jobs/"], ["GET /api/jobs/<id>"]),
        (
            "GET,POST /api/jobs/<id>",
            ["GET /api/jobs/<int:job_id>", "HEAD /api/jobs/<int:job_id>", "POST /api/jobs/<int:job_id>"],
            ["PUT /api/jobs/<int:job_id>", "GET /api/jobs/latest"],
        ),
        (
            "/api/jobs/*",
            ["GET /api/jobs/latest", "GET /api/jobs/<id>"],
            ["GET /api/jobs", "GET /api/jobs/<id>/log"],
        ),
        ("/api/v*/**", ["GET /api/v1", "GET /api/v2/jobs/<id>/log"], ["GET /api/jobs"]),
        ("/**", ["GET /", "POST /any/thing"], []),
    ],
)
def test_the_patterns_of_the_page_match_what_it_says(pattern, matched, passed):
    assert f"| `{pattern}` |" in PAGE
    parsed = RoutePattern.parse(pattern)
    for routes, expected in ((matched, True), (passed, False)):
        for method, route in (entry.split() for entry in routes):
            assert parsed.matches("endpoint", method, route) is expected, (method, route)
    jobs = RoutePattern.parse("jobs.*")
    assert jobs.matches("jobs.create", "POST", "/x")
    assert not jobs.matches("jobs", "POST", "/x")
