"""`[[cache.prices]]`: what the tables take, and the message for each mistake."""

from __future__ import annotations

from datetime import date

import pytest
from cache_tables import MONEY, NO_NUMBERS, USE, WHOLE, cache
from policy_problems import problems
from pydantic import ValidationError

from otel_ratelimit.cache_advice import prices
from otel_ratelimit.cache_advice.needs import Needs
from otel_ratelimit.policy import CachePrice, parse_policy, policy_hash

OWN = 'name = "a"\nkind = "self-hosted"\nmonth = 30.0\n'
NODE = 'name = "a"\nkind = "instance"\nmemory = "4 GB"\nmonth = 30.0\n'
BY_USE = 'name = "a"\nkind = "serverless"\ngb_hour = 0.1\n'


def price(lines):
    (read,) = parse_policy(f"version = 1\n[[cache.prices]]\n{lines}\n", "p.toml").cache.prices
    return read


def price_problem(lines):
    (found,) = problems(f"version = 1\n[[cache.prices]]\n{lines}\n")
    return found


def test_the_defaults_of_a_price_are_those_of_the_analysis():
    read, known = CachePrice.model_fields, prices.Price.model_fields
    for ours, theirs in {
        "memory": "memory_bytes",
        "month": "month",
        "gb_hour": "gb_hour",
        "million_requests": "million_requests",
        "least_memory": "least_bytes",
    }.items():
        assert read[ours].default == known[theirs].default


def test_prices_may_stand_on_one_line():
    assert cache('prices = [{ name = "a", kind = "self-hosted", month = 1 }]').prices == (
        CachePrice(name="a", kind="self-hosted", month=1.0),
    )


@pytest.mark.parametrize("key", ["month", "gb_hour", "million_requests"])
@pytest.mark.parametrize("value", ["-0.01", "1e13", *NO_NUMBERS])
def test_what_is_no_money_is_refused_in_a_price(key, value):
    given = {"month": "1", "gb_hour": "1"} | {key: value}
    lines = "\n".join(f"{name} = {text}" for name, text in given.items() if name != key)
    found = price_problem(f'name = "a"\nkind = "serverless"\n{lines}\n{key} = {value}')
    assert f": cache.prices[0].{key}: " in found
    assert found.endswith(f" is not {MONEY}")


def test_one_pair_of_brackets_is_not_enough_for_a_price():
    (found,) = problems(f"version = 1\n[cache.prices]\n{OWN}")
    assert found == (
        "p.toml:2: cache.prices: is one table, and prices are a list;"
        " write [[cache.prices]], with two brackets"
    )


def test_a_price_has_a_name_and_a_kind():
    assert problems("version = 1\n\n[[cache.prices]]\nmonth = 1\n") == [
        "p.toml:3: cache.prices[0]: 'name' is missing; write for instance name = \"our own\"",
        "p.toml:3: cache.prices[0]: 'kind' is missing; write for instance kind = \"self-hosted\"",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('""', 'the name is empty; write for instance name = "our own"'),
        ('"  "', 'the name is empty; write for instance name = "our own"'),
        ('"""a\nb"""', "'a\\nb' is not one line of visible characters; use letters, digits and spaces"),
        (r'"\u001b[2J"', r"'\x1b[2J' is not one line of visible characters; use letters, digits and spaces"),
        (f'"{"x" * 101}"', f"'{'x' * 101}' has 101 characters; use a name of at most 100"),
        ("5", "5 is not text"),
    ],
)
def test_a_name_is_one_line_that_can_be_read(name, expected):
    assert (
        price_problem(f'name = {name}\nkind = "self-hosted"\nmonth = 1')
        == f"p.toml:3: cache.prices[0].name: {expected}"
    )


def test_a_name_may_be_long_and_of_any_script():
    assert price(OWN.replace('"a"', f'"{"é" * 100}"')).name == "é" * 100


def test_a_name_that_is_there_twice_is_refused_with_both_lines():
    text = f"version = 1\n[[cache.prices]]\n{OWN}[[cache.prices]]\n{NODE}[[cache.prices]]\n{BY_USE}"
    assert problems(text) == [
        "p.toml:7: cache.prices[1].name: 'a' is there twice (p.toml:3); give each price a name of its own",
        "p.toml:12: cache.prices[2].name: 'a' is there twice (p.toml:3); give each price a name of its own",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"2026-06-01"', "'2026-06-01' is text; write a date without quotes, for instance 2026-06-01"),
        (
            "2026-06-01T12:00:00",
            "2026-06-01 12:00:00 is a date with a time; write the date alone: 2026-06-01",
        ),
        (
            "2026-06-01T12:00:00Z",
            "2026-06-01 12:00:00+00:00 is a date with a time; write the date alone: 2026-06-01",
        ),
        ("12:00:00", "12:00:00 is not a date; write for instance 2026-06-01"),
        ("2026", "2026 is not a date; write for instance 2026-06-01"),
        ("true", "True is not a date; write for instance 2026-06-01"),
    ],
)
def test_what_is_no_date_is_refused(value, expected):
    assert price_problem(f"{OWN}as_of = {value}") == f"p.toml:6: cache.prices[0].as_of: {expected}"


@pytest.mark.parametrize("value", ["0", "true", '"4 gigs"', "4.5"])
@pytest.mark.parametrize("key", ["memory", "least_memory"])
def test_what_is_no_size_is_refused(key, value):
    lines = NODE.replace('"4 GB"', value) if key == "memory" else f"{BY_USE}least_memory = {value}"
    found = price_problem(lines)
    assert f"cache.prices[0].{key}: " in found
    assert ("must be at least one byte; write " if value == "0" else " is not a size; write ") in found


@pytest.mark.parametrize("kind", ["instances", "Serverless", ""])
def test_an_unknown_kind_is_refused_and_nothing_else_said(kind):
    assert price_problem(f'name = "a"\nkind = "{kind}"\nmemory = 5\ngb_hour = 1') == (
        f"p.toml:4: cache.prices[0].kind: '{kind}' is not known;"
        " use 'instance', 'serverless' or 'self-hosted'"
    )


@pytest.mark.parametrize(
    ("lines", "key", "takes"),
    [
        (NODE + "gb_hour = 1", "gb_hour", "memory, month"),
        (NODE + "gb_hour = 0.0", "gb_hour", "memory, month"),
        (NODE + "million_requests = 1", "million_requests", "memory, month"),
        (NODE + "least_memory = 1", "least_memory", "memory, month"),
        (BY_USE + "memory = 1", "memory", "month, gb_hour, million_requests, least_memory"),
        (OWN + "memory = 1", "memory", "month, gb_hour, million_requests, least_memory"),
    ],
)
def test_a_key_that_means_nothing_for_the_kind_is_refused_where_it_stands(lines, key, takes):
    kind = lines.split('kind = "')[1].split('"')[0]
    line = 3 + lines.count("\n")
    assert price_problem(lines) == (
        f"p.toml:{line}: cache.prices[0].{key}: {key} means nothing for kind = '{kind}';"
        f" remove it; the price is made of {takes}"
    )


USED = {"instance": NODE, "serverless": BY_USE, "self-hosted": OWN}


@pytest.mark.parametrize("kind", USED)
@pytest.mark.parametrize("key", ["memory", "month", "gb_hour", "million_requests", "least_memory"])
def test_a_key_is_taken_exactly_where_the_cost_depends_on_it(kind, key):
    needs = Needs(
        memory_bytes=1e9,
        requests_a_day=1e6,
        executions_a_day=1.0,
        latency_saved_ms=1.0,
        latency_saved_low_ms=1.0,
        latency_saved_high_ms=1.0,
        database_saved_ms=1.0,
        database_saved_low_ms=1.0,
        database_saved_high_ms=1.0,
        database_ms=1.0,
    )
    given = {"memory_bytes": 1e9, "month": 1.0, "gb_hour": 1.0, "million_requests": 1.0, "least_bytes": 1.0}
    changed = given | {{"memory": "memory_bytes", "least_memory": "least_bytes"}.get(key, key): 2e9}

    def monthly(numbers):
        made = prices.Price(name="x", kind=kind, as_of=date(2026, 6, 1), **numbers)
        return made.monthly(needs, 0.25)

    counts = monthly(given) != monthly(changed)
    lines = "\n".join(line for line in USED[kind].splitlines() if not line.startswith(key))
    text = f"{lines}\n{key} = 2_000_000_000"
    if counts:
        assert getattr(price(text), key) == 2e9
    else:
        assert "means nothing" in price_problem(text)


MEMORY = 'the memory of one instance is missing; write for instance memory = "4 GB"'
A_MONTH = "an instance costs something a month; write for instance month = 30.0"
FREE = (
    "a self-hosted cache has a cost as well: its memory, or its operation;"
    " write for instance month = 30.0, or gb_hour = 0.01"
)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('kind = "instance"\nmonth = 1', f"2: cache.prices[0].memory: {MEMORY}"),
        ('kind = "instance"\nmemory = 1', f"2: cache.prices[0].month: {A_MONTH}"),
        ('kind = "instance"\nmemory = 1\nmonth = 0', f"5: cache.prices[0].month: {A_MONTH}"),
        ('kind = "serverless"', f"2: cache.prices[0].gb_hour: {USE}"),
        ('kind = "serverless"\nmonth = 5', f"2: cache.prices[0].gb_hour: {USE}"),
        ('kind = "serverless"\nmillion_requests = 0.0', f"4: cache.prices[0].million_requests: {USE}"),
        ('kind = "serverless"\nmillion_requests = 0\ngb_hour = 0', f"5: cache.prices[0].gb_hour: {USE}"),
        ('kind = "self-hosted"', f"2: cache.prices[0].month: {FREE}"),
        ('kind = "self-hosted"\nmonth = 0.0', f"4: cache.prices[0].month: {FREE}"),
        ('kind = "self-hosted"\ngb_hour = 0', f"4: cache.prices[0].gb_hour: {FREE}"),
        ('kind = "self-hosted"\nmillion_requests = 1', f"2: cache.prices[0].month: {FREE}"),
    ],
)
def test_no_cache_is_free(lines, expected):
    assert price_problem(f'{lines}\nname = "a"') == f"p.toml:{expected}"


def test_a_price_made_by_hand_must_fit_its_kind_too():
    with pytest.raises(ValidationError, match="an instance costs something a month"):
        CachePrice(name="a", kind="instance", memory=1)


def test_a_mistake_in_a_price_on_one_line_has_the_line_of_that_price():
    text = """\
version = 1
[cache]
prices = [
  { name = "a", kind = "self-hosted", month = 1 },
  { name = "b", kind = "instance", memory = "4 GB", month = 1, gb_hour = 2 },
]
"""
    assert [found.partition(": ")[0] for found in problems(text)] == ["p.toml:5"]


def test_an_unknown_key_of_a_price_is_held_against_the_keys_of_prices():
    assert price_problem(f"{OWN}engine = 'redis'").endswith(
        "unknown key 'engine'; known are as_of, gb_hour, kind, least_memory, memory, million_requests,"
        " month, name"
    )


def test_another_price_is_another_policy():
    assert policy_hash(parse_policy(WHOLE, "p.toml")) != policy_hash(
        parse_policy(WHOLE.replace("2026-06-01", "2026-06-02"), "p.toml")
    )
