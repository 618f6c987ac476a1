"""`[cache]`: what the table takes, and the message for each mistake."""

from __future__ import annotations

import inspect
import json
import re
from datetime import date

import pytest
from cache_tables import MONEY, NO_NUMBERS, USE, WHOLE, cache
from click.testing import CliRunner
from policy_problems import problems

from otel_ratelimit.cache_advice.cost_benefit import calculate_redis_cost_benefit
from otel_ratelimit.cli import main
from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.policy import Cache, CachePrice, builtin_policy, parse_policy


def problem(lines):
    (found,) = problems(f"version = 1\n[cache]\n{lines}\n")
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


MILLISECONDS = "a time in milliseconds; write a number from 0 to 60000"
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


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, (_, wrong) in NUMBERS.items() for value in [*wrong, *NO_NUMBERS]],
)
def test_what_is_no_such_number_is_refused(key, value):
    found = problem(f"{key} = {value}")
    assert found.startswith(f"p.toml:3: cache.{key}: ")
    assert found.endswith(f" is not {NUMBERS[key][0]}")


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
