"""The tables `[cache]` and `[[cache.prices]]` of a policy, right and wrong."""

from __future__ import annotations

from otel_ratelimit.policy import parse_policy

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


def cache(lines):
    return parse_policy(f"version = 1\n[cache]\n{lines}\n", "p.toml").cache


MONEY = "an amount of money; write a number, 0 or more, without a currency"
NO_NUMBERS = ["true", "false", "nan", "inf", "-inf", '"1"', "[]", "{}", "2026-06-01"]
USE = (
    "a serverless cache costs something for its memory or for requests;"
    " write for instance gb_hour = 0.1, or million_requests = 0.003"
)
