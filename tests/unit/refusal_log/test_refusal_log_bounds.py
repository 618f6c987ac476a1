"""Refusals of very many clients, limits and endpoints: few lines, little memory, exact sums."""

from __future__ import annotations

import re

import pytest
from refusal_lines import counts, written
from refused_requests import refused

from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core import names
from otel_ratelimit.telemetry.logs.distinct_count import DistinctCount
from otel_ratelimit.telemetry.logs.refusal_summaries import MAX_LIMITS


@pytest.mark.untraced
def test_a_hundred_thousand_clients_make_a_hundred_lines_and_one_for_all_others(make_log, caplog):
    log = make_log(max_pending=1_000, max_clients=100)
    for n in range(100_000):
        log(refused(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    log.tick()

    assert len(log._pending) == len(log._others) == 0
    assert len(written(caplog)) == 101
    assert sum(counts(caplog)) == 100_000
    message = written(caplog)[-1].getMessage()
    found = re.fullmatch(
        r"refused 99900 requests of about (\d+) other clients: GET /thing, limit .*", message
    )
    assert int(found[1]) == pytest.approx(99_900, rel=0.1)
    assert vars(written(caplog)[-1])[names.REFUSED_CLIENTS] == int(found[1])
    assert names.CLIENT_ADDRESS not in vars(written(caplog)[-1])


def test_memory_is_bounded_between_two_looks_and_over_many(make_log, clock):
    log = make_log(max_pending=20, max_clients=10)
    for n in range(5_000):
        log(refused(f"10.0.{n >> 8}.{n & 255}", limit=f"{n % 3 + 1} per 1 minute"))
        assert len(log._pending) <= 20
        assert len(log._others) <= 3
        if n % 100 == 0:
            clock.now += 5
            log.tick()
            assert len(log._lines._lines) <= 10


def test_the_line_of_all_others_comes_once_a_minute_too(make_log, clock, caplog):
    log = make_log(max_pending=2, max_clients=2)
    for second in range(0, 130, 5):
        clock.now = 1000.0 + second
        for n in range(20):
            log(refused(f"10.0.0.{n}"))
        log.tick()
    log.close()
    others = [record for record in written(caplog) if names.REFUSED_CLIENTS in vars(record)]
    assert len(others) == 4  # at 0, 60 and 120 seconds, and at the end
    assert {vars(record)[names.REFUSED_CLIENTS] for record in others} == {18}
    assert sum(counts(caplog)) == 26 * 20


def test_clients_that_have_paused_make_room_for_new_ones(make_log, clock, caplog):
    log = make_log(max_clients=2)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        log(refused(address))
    log.tick()
    clock.now += 61
    log.tick()
    log(refused("10.0.0.4"))
    log.tick()
    clients = [vars(record).get(names.CLIENT_ADDRESS) for record in written(caplog)]
    assert clients == ["10.0.0.1", "10.0.0.2", None, "10.0.0.4"]


@pytest.mark.parametrize("n", [1, 2, 10, 100, 1_000, 30_000])
def test_how_many_clients_there_were_is_known_to_a_tenth(n):
    count = DistinctCount()
    for _ in range(2):
        for each in range(n):
            count.add(f"client {each}")
    assert count.estimate == pytest.approx(n, rel=0.12)


def test_two_counts_of_clients_are_merged():
    one, other = DistinctCount(), DistinctCount()
    for n in range(100):
        one.add(str(n))
        other.add(str(n + 50))
    one.merge(other)
    assert one.estimate == pytest.approx(150, rel=0.1)


# Many limits and endpoints, where the application names paths


def test_twenty_thousand_endpoints_make_two_hundred_lines_and_one_for_all_others(make_log, caplog):
    log = make_log()
    for n in range(20_000):
        log.violated(violation_at(f"/job/{n}", client=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    assert len(log._pending) + len(log._others) <= 1_000 + MAX_LIMITS + 2
    log.tick()
    assert sum(counts(caplog)) == 20_000
    assert len(written(caplog)) == 100 + MAX_LIMITS + 1
    last = written(caplog)[-1]
    found = re.fullmatch(
        r"refused 1[89]\d{3} requests of about (\d+) other clients: about (\d+) other limits or endpoints",
        last.getMessage(),
    )
    assert all(int(estimate) == pytest.approx(19_500, rel=0.1) for estimate in found.groups())
    assert vars(last)[names.REFUSED_LIMITS] == int(found[2])
    assert names.HTTP_ROUTE not in vars(last)


def test_thirty_looks_at_new_endpoints_keep_no_more_than_one(make_log, clock):
    log = make_log(max_pending=10, max_clients=5)
    for look in range(30):
        for n in range(150):
            log.violated(violation_at(f"/job/{look}/{n}"))
        clock.now += 0.1
        log.tick()
    assert len(log._lines._others) <= MAX_LIMITS + 2
    assert len(log._lines._lines) <= 5


def test_one_limit_more_than_are_told_apart_and_shadow_are_counted_exactly(make_log, caplog):
    log = make_log(max_pending=1, max_clients=1)
    for n in range(MAX_LIMITS + 2):
        log.violated(violation_at(f"/job/{n}"))
    for n in range(3):
        log.violated(violation_at(f"/job/{MAX_LIMITS + 9}", shadow=True, client=f"10.0.0.{n}"))
    log.tick()
    assert sum(counts(caplog)) == MAX_LIMITS + 2 + 3
    messages = [record.getMessage() for record in written(caplog)]
    assert "refused 1 request of about 1 other client: about 1 other limit or endpoint" in messages
    assert (
        "would have refused (shadow) 3 requests of about 3 other clients: about 1 other limit or endpoint"
        in messages
    )


def violation_at(endpoint, *, client="192.0.2.7", shadow=False):
    return Violation(
        1.0, 1.0, endpoint, "GET", client, None, "application", "5 per 1 minute", 5, 60, 6, None, None, shadow
    )
