"""`[cache]` and `[[cache.prices]]`: what they take, and what is said of what they do not take."""

from __future__ import annotations

import inspect
import json
import re
from datetime import date

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from otel_ratelimit.cache_advice import prices
from otel_ratelimit.cache_advice.cost_benefit import calculate_redis_cost_benefit
from otel_ratelimit.cache_advice.needs import Needs
from otel_ratelimit.cli import main
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import Cache, CachePrice, builtin_policy, parse_policy, policy_hash

WHOLE = """\
version = 1
[cache]
engine = "redis"
allocator = "jemalloc-shared"
key_bytes = 64
size_factor = 0.4
lookup_milliseconds = 0
store_milliseconds = 1.5
stale_share = 1
reserve = 0
currency = "EUR"
value_of_saved_millisecond = 1e-7
value_of_database_second = 0.00002

[[cache.prices]]
name = "our own"
kind = "self-hosted"
as_of = 2026-06-01
month = 30
gb_hour = 0.01
least_memory = "100 MB"

[[cache.prices]]
name = "node"
kind = "instance"
memory = "4 GB"
month = 95.5

[[cache.prices]]
name = "by use"
kind = "serverless"
million_requests = 0.0023
"""
OWN = 'name = "a"\nkind = "self-hosted"\nmonth = 30.0\n'
NODE = 'name = "a"\nkind = "instance"\nmemory = "4 GB"\nmonth = 30.0\n'
BY_USE = 'name = "a"\nkind = "serverless"\ngb_hour = 0.1\n'


def cache(lines):
    return parse_policy(f"version = 1\n[cache]\n{lines}\n", "p.toml").cache


def price(lines):
    (read,) = parse_policy(f"version = 1\n[[cache.prices]]\n{lines}\n", "p.toml").cache.prices
    return read


def problems(text):
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.toml")
    return [str(found) for found in caught.value.problems]


def problem(lines):
    (found,) = problems(f"version = 1\n[cache]\n{lines}\n")
    return found


def price_problem(lines):
    (found,) = problems(f"version = 1\n[[cache.prices]]\n{lines}\n")
    return found


def test_the_defaults_are_those_of_the_analysis():
    read, assumed = builtin_policy().cache, Assumptions()
    assert read.engine == assumed.engine
    assert read.allocator == assumed.allocator
    assert read.key_bytes == assumed.key_bytes
    assert read.size_factor == assumed.size_factor
    assert read.lookup_milliseconds == assumed.lookup_ms
    assert read.store_milliseconds == assumed.store_ms
    assert read.stale_share == assumed.stale_budget
    assert read.value_of_saved_millisecond == assumed.value_of_saved_ms
    assert read.value_of_database_second == assumed.value_of_database_second
    weighed = inspect.signature(calculate_redis_cost_benefit).parameters
    assert read.reserve == weighed["reserve"].default
    assert read.currency == weighed["currency"].default
    assert read.value_of_saved_millisecond == weighed["value_of_saved_ms"].default
    assert read.value_of_database_second == weighed["value_of_database_second"].default


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


def test_without_the_table_the_defaults_hold_and_no_price_is_the_files():
    assert builtin_policy().cache == cache("") == Cache()
    assert builtin_policy().cache.prices == ()


def test_the_tables_are_read_as_they_are_written():
    read = parse_policy(WHOLE, "p.toml").cache
    assert read.model_dump(exclude={"prices"}) == {
        "engine": "redis",
        "allocator": "jemalloc-shared",
        "key_bytes": 64,
        "size_factor": 0.4,
        "lookup_milliseconds": 0.0,
        "store_milliseconds": 1.5,
        "stale_share": 1.0,
        "reserve": 0.0,
        "currency": "EUR",
        "value_of_saved_millisecond": 1e-7,
        "value_of_database_second": 0.00002,
    }
    assert read.prices == (
        CachePrice(
            name="our own",
            kind="self-hosted",
            as_of=date(2026, 6, 1),
            month=30.0,
            gb_hour=0.01,
            least_memory=100_000_000,
        ),
        CachePrice(name="node", kind="instance", memory=4_000_000_000, month=95.5),
        CachePrice(name="by use", kind="serverless", million_requests=0.0023),
    )
    assert read.prices[1].as_of is None


def test_prices_may_stand_on_one_line():
    assert cache('prices = [{ name = "a", kind = "self-hosted", month = 1 }]').prices == (
        CachePrice(name="a", kind="self-hosted", month=1.0),
    )


MILLISECONDS = "a time in milliseconds; write a number from 0 to 60000"
MONEY = "an amount of money; write a number, 0 or more, without a currency"
FACTOR = "a multiple of a size; write a number above 0 and at most 1000"
SHARE = "a share; write a number from 0 to 1"
RESERVE = "a share of memory that can stay free; write a number from 0 to less than 1"
NO_PRICES = (
    "there are no prices in EUR: the built-in ones are in USD; add [[cache.prices]] with prices of your own,"
    " or leave the currency out"
)
NUMBERS = {
    "size_factor": (FACTOR, ["0", "-1", "1000.1"]),
    "lookup_milliseconds": (MILLISECONDS, ["-0.1", "60000.5"]),
    "store_milliseconds": (MILLISECONDS, ["-0.1", "60000.5"]),
    "stale_share": (SHARE, ["-0.01", "1.01"]),
    "reserve": (RESERVE, ["-0.01", "1", "1.0"]),
    "value_of_saved_millisecond": (MONEY, ["-1e-9", "1e13"]),
    "value_of_database_second": (MONEY, ["-1", f"1{400 * '0'}"]),
}
NO_NUMBERS = ["true", "false", "nan", "inf", "-inf", '"1"', "[]", "{}", "2026-06-01"]


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, (_, wrong) in NUMBERS.items() for value in [*wrong, *NO_NUMBERS]],
)
def test_what_is_no_such_number_is_refused(key, value):
    found = problem(f"{key} = {value}")
    assert found.startswith(f"p.toml:3: cache.{key}: ")
    assert found.endswith(f" is not {NUMBERS[key][0]}")


@pytest.mark.parametrize("key", ["month", "gb_hour", "million_requests"])
@pytest.mark.parametrize("value", ["-0.01", "1e13", *NO_NUMBERS])
def test_what_is_no_money_is_refused_in_a_price(key, value):
    given = {"month": "1", "gb_hour": "1"} | {key: value}
    lines = "\n".join(f"{name} = {text}" for name, text in given.items() if name != key)
    found = price_problem(f'name = "a"\nkind = "serverless"\n{lines}\n{key} = {value}')
    assert f": cache.prices[0].{key}: " in found
    assert found.endswith(f" is not {MONEY}")


@pytest.mark.parametrize("value", ["0", "-1", "40.0", "true", "nan", '"40"', "536870913"])
def test_what_is_no_length_of_a_key_is_refused(value):
    found = problem(f"key_bytes = {value}")
    assert found.startswith("p.toml:3: cache.key_bytes: ")
    assert found.endswith(" is not the length of a key; write whole bytes, at least 1")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('engine = "memcached"', "engine: 'memcached' is not known; use 'redis' or 'valkey'"),
        ("engine = 7", "engine: 7 is not known; use 'redis' or 'valkey'"),
        (
            'allocator = "tcmalloc"',
            "allocator: 'tcmalloc' is not known; use 'jemalloc', 'jemalloc-shared' or 'libc'",
        ),
        (
            'currency = "usd"',
            "currency: 'usd' is not a currency; write its three capital letters, for instance \"USD\"",
        ),
        (
            'currency = "€"',
            "currency: '€' is not a currency; write its three capital letters, for instance \"USD\"",
        ),
        (
            'currency = "EUR\\n"',
            "currency: 'EUR\\n' is not a currency; write its three capital letters, for instance \"USD\"",
        ),
        ("currency = 5", "currency: 5 is not text"),
        (
            'currency = "EUR"',
            f"currency: {NO_PRICES}",
        ),
        ("prices = 5", "prices: 5 is not a list"),
        ("prices = [5]", "prices[0]: 5 is not a table"),
        ("reserved = 0.5", "reserved: unknown key 'reserved'; did you mean 'reserve'?"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(line, expected):
    assert problem(line) == f"p.toml:3: cache.{expected}"


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
USE = (
    "a serverless cache costs something for its memory or for requests;"
    " write for instance gb_hour = 0.1, or million_requests = 0.003"
)
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


ALL_WRONG = """\
version = 1

[cache]
engine = "memcached"
reserve = 1.5
curency = "EUR"

[[cache.prices]]
name = "a"
kind = "instance"
gb_hour = "dear"
moth = 3

[[cache.prices]]
name = "a"
kind = "self-hosted"
as_of = "today"
month = 0
memory = "4 GB"

[[cache.prices]]
month = true
kind = "serverless"
"""


def test_all_mistakes_are_told_at_once_each_with_its_line():
    assert [re.split("[;,]", found)[0] for found in problems(ALL_WRONG)] == [
        "p.toml:4: cache.engine: 'memcached' is not known",
        "p.toml:5: cache.reserve: 1.5 is not a share of memory that can stay free",
        "p.toml:6: cache.curency: unknown key 'curency'",
        "p.toml:8: cache.prices[0].memory: the memory of one instance is missing",
        "p.toml:8: cache.prices[0].month: an instance costs something a month",
        "p.toml:11: cache.prices[0].gb_hour: gb_hour means nothing for kind = 'instance'",
        "p.toml:12: cache.prices[0].moth: unknown key 'moth'",
        "p.toml:15: cache.prices[1].name: 'a' is there twice (p.toml:9)",
        "p.toml:17: cache.prices[1].as_of: 'today' is text",
        "p.toml:18: cache.prices[1].month: a self-hosted cache has a cost as well: its memory",
        "p.toml:19: cache.prices[1].memory: memory means nothing for kind = 'self-hosted'",
        "p.toml:21: cache.prices[2]: 'name' is missing",
        f"p.toml:21: cache.prices[2].gb_hour: {USE.partition(';')[0]}",
        "p.toml:22: cache.prices[2].month: True is not an amount of money",
    ]


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


def run(*arguments):
    return CliRunner().invoke(main, ["policy", *arguments])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(WHOLE)
    return str(path)


def test_policy_check_takes_the_whole_table(file):
    checked = run("check", file)
    assert checked.exit_code == 0
    assert "valid; 0 rules" in checked.output


def test_policy_show_has_the_table(file):
    shown = [line.split(None, 1)[0:2] for line in run("show", file).output.splitlines()]
    found = {cells[0]: cells[1].rsplit(None, 1)[0].strip() for cells in shown if len(cells) == 2}
    assert (found["engine"], found["allocator"]) == ('"redis"', '"jemalloc-shared"')
    assert (found["value_of_saved_millisecond"], found["value_of_database_second"]) == ("1e-07", "2e-05")
    titles = [line.strip() for line in run("show", file).output.splitlines() if "[[cache.prices]]" in line]
    assert titles == [f"[[cache.prices]] {index}" for index in range(3)]


def test_policy_show_says_that_the_built_in_prices_hold(tmp_path):
    empty = tmp_path / "p.toml"
    empty.write_text("version = 1\n")
    assert "cache.prices: the built-in ones" in run("show", str(empty)).output.splitlines()


def test_policy_show_has_the_table_as_json(file):
    shown = json.loads(run("show", "--json", file).output)["cache"]
    assert shown["stale_share"] == 1.0
    assert shown["prices"][0] == {
        "name": "our own",
        "kind": "self-hosted",
        "as_of": "2026-06-01",
        "memory": 0,
        "month": 30.0,
        "gb_hour": 0.01,
        "million_requests": 0.0,
        "least_memory": 100_000_000,
    }
    assert shown["prices"][1]["as_of"] is None


def test_another_price_is_another_policy():
    assert policy_hash(parse_policy(WHOLE, "p.toml")) != policy_hash(
        parse_policy(WHOLE.replace("2026-06-01", "2026-06-02"), "p.toml")
    )
