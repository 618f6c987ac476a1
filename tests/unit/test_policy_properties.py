"""Properties of matching and of finding lines, over generated patterns and files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_lists import listed_names

from otel_ratelimit.policy.cache import Cache, CachePrice
from otel_ratelimit.policy.model import (
    Analytics,
    ClientRule,
    IdentityTable,
    Memory,
    Policy,
    RouteRule,
    Unmatched,
)
from otel_ratelimit.policy.report import Report
from otel_ratelimit.policy.route_pattern import RoutePattern
from otel_ratelimit.policy.toml_lines import TomlLines

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"

SEGMENTS = st.sampled_from(["a", "ab", "b", "<x>", "<int:y>"])
WILD = st.sampled_from(["a", "ab", "*", "**", "a*", "*b", "<z>"])
METHODS = st.sampled_from(["", "GET ", "POST ", "GET,POST "])


@st.composite
def patterns(draw):
    return RoutePattern.parse(draw(METHODS) + "/" + "/".join(draw(st.lists(WILD, max_size=4))))


ROUTES = st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(patterns(), patterns(), st.lists(ROUTES, min_size=1, max_size=30))
@settings(max_examples=400)
def test_a_pattern_that_covers_another_matches_all_that_the_other_matches(wide, narrow, routes):
    if wide.covers(narrow):
        for route in routes:
            for method in ("GET", "HEAD", "POST", "PUT"):
                if narrow.matches("e", method, route):
                    assert wide.matches("e", method, route), (wide.text, narrow.text, method, route)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("/*", "/**"),
        ("/a/*", "/a/**"),
        ("/a*", "/*"),
        ("/a*b", "/a*"),
        ("/<x>", "/*"),
        ("GET /a", "/a"),
        ("GET /a", "POST /a"),
        ("/a", "a"),
        ("a", "/a"),
        ("a.*", "*"),
        ("/**/a", "/**"),
    ],
)
def test_a_pattern_that_matches_less_does_not_cover(wide, narrow):
    assert not RoutePattern.parse(wide).covers(RoutePattern.parse(narrow))


def test_an_asterisk_stands_for_any_character():
    assert RoutePattern.parse("/*").matches("e", "GET", "/a\nb")
    assert RoutePattern.parse("a*").matches("a\nb", "GET", "/")
    assert not RoutePattern.parse("a?").matches("ab", "GET", "/")


@given(patterns())
def test_a_pattern_covers_itself(pattern):
    assert pattern.covers(pattern)


@given(st.lists(st.sampled_from(["a", "b"]), max_size=5))
def test_any_depth_matches_any_depth(parts):
    route = "/x/" + "/".join(parts)
    assert RoutePattern.parse("/x/**").matches("e", "GET", route)
    assert RoutePattern.parse("/**").matches("e", "GET", route)


NAMES = st.sampled_from(["alpha", "beta", '"quoted key"', "x-1"])
VALUES = st.sampled_from(
    [
        "1",
        '"text = [1]"',
        "true",
        "[1, 2]",
        '[\n  "one",  # = no key\n  "two",\n]',
        '"""\n[fake]\nx = 1\n"""',
        "{ a = 1 }",
    ]
)


@st.composite
def documents(draw):
    lines, expected = [], {}
    for index in range(draw(st.integers(0, 4))):
        lines.append(draw(st.sampled_from(["", "# [comment] = 1"])))
        lines.append("[[routes]]")
        table = ("routes", index)
        expected[table] = len(lines)
        for name in draw(st.lists(NAMES, unique=True, max_size=4)):
            expected[(*table, name.strip('"'))] = len(lines) + 1
            lines.extend(f"{name} = {draw(VALUES)}".split("\n"))
    return "\n".join(lines) + "\n", expected


@given(documents())
@settings(max_examples=300)
def test_the_line_of_every_key_is_found(document):
    text, expected = document
    tomllib.loads(text)
    lines = TomlLines(text)
    assert {path: lines.of(path) for path in expected} == expected


@given(st.text(max_size=200), st.lists(st.one_of(st.text(max_size=5), st.integers(0, 3)), max_size=4))
def test_whatever_the_text_a_line_is_inside_it(text, path):
    line = TomlLines(text).of(path)
    assert 1 <= line <= max(1, len(text.splitlines()))


def test_the_items_of_a_list_have_lines_of_their_own():
    text = 'version = 1\nexempt = [\n  "/a",\n  # between\n  "/b", "/c",\n]\nlast = 1\n'
    lines = TomlLines(text)
    assert [lines.of(("exempt", index)) for index in range(3)] == [3, 5, 5]
    assert lines.of(("last",)) == 7


def test_every_key_of_the_model_is_in_the_reference():
    page = REFERENCE.read_text()
    for heading, model in {
        "Top level": Policy,
        "`[[routes]]`": RouteRule,
        "`[[clients]]`": ClientRule,
        "`[unmatched]`": Unmatched,
        "`[identity]`": IdentityTable,
        "`[memory]`": Memory,
        "`[analytics]`": Analytics,
        "`[cache]`": Cache,
        "`[[cache.prices]]`": CachePrice,
        "`[report]`": Report,
    }.items():
        section = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
        assert set(listed_names(section)) == set(model.known_keys()), heading


def test_every_example_in_the_documentation_is_valid():
    from otel_ratelimit.policy import parse_policy

    root = REFERENCE.parents[2]
    found = 0
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for block in page.read_text().split("```toml\n")[1:]:
            text = "\n".join(line.strip() for line in block.split("```", 1)[0].splitlines())
            if "version = 1" in text:
                parse_policy(text, page.name)
                found += 1
    assert found >= 3
