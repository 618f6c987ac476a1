"""Token buckets in a real server against those in the process, with the same times.

The server runs the text of `take.lua` thousands of times in one call, with its clock replaced by an argument.
"""

from __future__ import annotations

import random
import time
from importlib.resources import files

import pytest
from limits.storage import storage_from_string
from redis import Redis

from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage import counter_store
from otel_ratelimit.storage.strategies import TOKEN_BUCKET

CLIENT = "i" + "0" * 32
NOW = 1_790_000_000
AT_ONCE = 2000
"""Requests in one call; no key expires meanwhile, and each call begins without a key."""
CLOCK = "redis.call('TIME')"
LOOP = """
local function take(KEYS, ARGV, TIME)
%s
end
local answers = {}
for i = 5, #ARGV, 3 do
  local cost, seconds, microseconds = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local found = take({KEYS[1]}, {cost, '1', ARGV[1], ARGV[2], ARGV[3], ARGV[4]}, {seconds, microseconds})
  for _, each in ipairs(found) do answers[#answers + 1] = each end
end
redis.call('DEL', KEYS[1])
return answers
"""
LIMITS = [
    (100, 60, 20),
    (5, 1, None),
    (3, 86_400, 7),
    (1_000_000, 1, None),
    (1_000_000, 1, 10**9),
    (10**12, 3600, 10**12),
    (7, 60, 1),
    (1, 31_536_000, 10),
]


def window(amount, seconds, burst=None):
    name = f"n|e|{seconds}|token-bucket|"
    return Window(name, amount, seconds, Strategy.TOKEN_BUCKET, False, "", "", burst)


def requests(limit, rng):
    """Costs and times of one history: about as much as the limit allows, and sometimes at once."""
    unit = limit.period / limit.capacity
    microseconds = NOW * 1_000_000 + rng.randrange(10**12)
    for _ in range(AT_ONCE):
        cost = rng.choice([0, 1, 1, 1, 2, rng.randint(1, max(1, limit.capacity // 10)), limit.capacity + 1])
        pause = 0 if rng.random() < 0.2 else rng.expovariate(1 / (unit * max(cost, 1)))
        microseconds += int(pause * 1e6)
        yield cost, *divmod(microseconds, 1_000_000)


def answers_of_the_process(limit, asked):
    value = None
    capacity, period = limit.capacity, limit.period
    for cost, seconds, microseconds in asked:
        now = seconds + microseconds / 1_000_000
        wait = TOKEN_BUCKET.wait(value, capacity, period, cost, now)
        if cost and not wait:
            value = TOKEN_BUCKET.add(value, capacity, period, cost, now)
        state = TOKEN_BUCKET.state(value, capacity, period, now, wait)
        yield not wait, state.used, wait, state.reset_after


def compare(server, times):
    client = Redis(port=server.port)
    text = files("otel_ratelimit.storage").joinpath("take.lua").read_text()
    assert text.count(CLOCK) == 1
    script = client.register_script(LOOP % text.replace(CLOCK, "TIME"))
    rng = random.Random(5)
    allowed = 0
    for number in range(times):
        limit = window(*LIMITS[number % len(LIMITS)])
        asked = list(requests(limit, rng))
        settings = [limit.capacity, limit.period, "token-bucket", 0]
        found = script(keys=["k"], args=settings + [each for one in asked for each in one])
        answers = zip(*(found[at::4] for at in range(4)), strict=True)
        for (ok, used, wait, reset), ours in zip(answers, answers_of_the_process(limit, asked), strict=True):
            assert (ok, used) == ours[:2]
            # The server's answer has whole microseconds, and is never shorter.
            assert -1e-9 * limit.period <= float(wait) - ours[2] <= 1.1e-6 + 1e-9 * limit.period
            assert float(reset) == pytest.approx(ours[3], abs=1e-6)
            allowed += ok
    assert 0.2 < allowed / (times * AT_ONCE) < 0.95


def test_the_server_and_the_process_give_the_same_answers(redis):
    compare(redis, 20 * len(LIMITS))


@pytest.mark.full
@pytest.mark.untraced
def test_the_server_and_the_process_give_the_same_answers_a_million_times(redis):
    compare(redis, 1_000_000 // AT_ONCE)


def test_the_key_is_one_time_and_expires_with_the_bucket(redis):
    store = counter_store(storage_from_string(redis.uri), redis.uri, time.time)
    client = Redis(port=redis.port)
    begin = client.time()[0]
    assert store.take([window(100, 60, 20)], CLIENT, 10, 0.0).allowed  # full again after 6 s
    (key,) = client.keys("*")
    full, correction = map(float, client.get(key).split())
    assert begin + 6 <= full <= client.time()[0] + 7
    assert abs(correction) < 1e-6
    left = full - client.time()[0]
    assert 0 < client.pttl(key) / 1000 < left + 0.01
    assert client.memory_usage(key, samples=0) < 250


def test_the_burst_may_change_while_the_counter_goes_on(redis):
    store = counter_store(storage_from_string(redis.uri), redis.uri, time.time)
    assert store.take([window(1, 3600, 30)], CLIENT, 20, 0.0).allowed
    assert store.peek([window(1, 3600, 50)], CLIENT, 1, 0.0).states[0][:2] == (20, 30)
    refused = store.take([window(1, 3600, 10)], CLIENT, 1, 0.0)
    assert (refused.allowed, refused.states[0]) == (False, (10, 0, 36_000.0, 36_000.0))
