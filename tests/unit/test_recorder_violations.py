"""Violations that wait to be written: coalesced, bounded, summed exactly."""

from __future__ import annotations

import threading
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.analytics.records import OTHER_LIMITS, Violation
from otel_ratelimit.analytics.violation_buffer import ViolationBuffer
from otel_ratelimit.core.names import OTHER_CLIENTS

FIRST = Violation(
    occurred_at=600.0,
    last_at=600.0,
    endpoint="/api/jobs",
    method="GET",
    client="192.0.2.7",
    user_id=None,
    tier="default",
    limit_text="10 per 1 minute",
    limit_value=10,
    limit_seconds=60,
    current_count=10,
    user_agent="curl",
    trace_id="0" * 31 + "1",
    shadow=False,
)


def at(second, client="192.0.2.7", **fields):
    return replace(FIRST, occurred_at=second, last_at=second, client=client, **fields)


def test_equal_violations_of_a_minute_are_one_row_with_a_count_and_the_first_ones_trace():
    buffer = ViolationBuffer(batch_size=10)
    for second in (600.5, 601.5, 659.9):
        buffer.add(at(second, trace_id=f"{second:032.0f}"))
    (row,) = buffer.take(everything=True)
    assert (row.n, row.occurred_at, row.last_at, row.trace_id) == (3, 600.5, 659.9, f"{600.5:032.0f}")


def test_another_minute_endpoint_method_client_user_tier_limit_or_shadow_is_another_row():
    buffer = ViolationBuffer(batch_size=10)
    others = [
        at(660.0),
        at(600.0, endpoint="/other"),
        at(600.0, method="POST"),
        at(600.0, client="192.0.2.8"),
        at(600.0, user_id="ann"),
        at(600.0, tier="expensive"),
        at(600.0, limit_text="50 per 1 hour"),
        at(600.0, shadow=True),
    ]
    for violation in (FIRST, *others):
        buffer.add(violation)
    assert [row.n for row in buffer.take(everything=True)] == [1] * 9


def test_a_batch_is_full_when_it_has_as_many_new_rows_and_not_as_many_violations():
    buffer = ViolationBuffer(batch_size=3)
    assert [buffer.add(at(600.0, client=client)) for client in ("a", "a", "a", "b", "c")] == [
        False,
        False,
        False,
        False,
        True,
    ]


def test_what_follows_a_batch_in_the_same_minute_waits_for_the_end_of_the_interval():
    buffer = ViolationBuffer(batch_size=1)
    assert buffer.add(FIRST)
    assert [row.n for row in buffer.take(everything=False)] == [1]
    for second in (601.0, 602.0):
        assert not buffer.add(at(second))
    assert buffer.take(everything=False) == ()
    (row,) = buffer.take(everything=True)
    assert (row.n, row.last_at, row.occurred_at) == (2, 602.0, 600.0)
    assert buffer.pending == 0


def test_clients_beyond_what_is_told_apart_are_counted_together():
    buffer = ViolationBuffer(batch_size=1000, max_distinct=5)
    for number in range(100):
        buffer.add(at(600.0, client=f"192.0.2.{number}", user_id="u", user_agent=f"agent {number}"))
    rows = buffer.take(everything=True)
    assert len(rows) == 6
    assert (rows[-1].client, rows[-1].n, rows[-1].user_id, rows[-1].user_agent) == (
        OTHER_CLIENTS,
        95,
        None,
        None,
    )


def test_a_long_outage_under_attack_keeps_rows_bounded_and_sums_exact():
    buffer = ViolationBuffer(batch_size=10, max_distinct=50, max_rows=100)
    for second in range(0, 86_400, 7):
        for client in range(3):
            buffer.add(at(float(second), client=f"10.0.{second % 256}.{client}"))
    rows = buffer.take(everything=True)
    assert len(rows) <= 101
    assert sum(row.n for row in rows) == 3 * len(range(0, 86_400, 7))
    assert max(row.last_at for row in rows) == 86_394.0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300), st.sampled_from("abcdefgh"), st.integers(1, 3), st.sampled_from([None, "u"])
        ),
        max_size=60,
    ),
    st.lists(st.booleans(), max_size=10),
)
def test_nothing_is_lost_or_made_up_however_it_is_taken(violations, takes):
    buffer = ViolationBuffer(batch_size=3, max_distinct=6, max_rows=9)
    rows, step = [], max(1, len(violations) // (len(takes) + 1))
    remaining = list(takes)
    for index, (second, client, n, user) in enumerate(violations):
        buffer.add(replace(at(float(second), client=client, user_id=user), n=n))
        if index % step == 0 and remaining:
            rows.extend(buffer.take(everything=remaining.pop()))
        assert buffer.pending == sum(v[2] for v in violations[: index + 1]) - sum(r.n for r in rows)
    rows.extend(buffer.take(everything=True))
    assert sum(row.n for row in rows) == sum(n for _, _, n, _ in violations)
    assert all(row.n > 0 and row.last_at >= row.occurred_at for row in rows)


def test_threads_lose_nothing():
    buffer = ViolationBuffer(batch_size=10)
    taken = []

    def add():
        for number in range(2000):
            buffer.add(at(600.0 + number % 120, client=str(number % 7)))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.extend(buffer.take(everything=False))
        taken.extend(buffer.take(everything=True))
    taken.extend(buffer.take(everything=True))
    assert sum(row.n for row in taken) == 16_000


def test_endpoints_have_a_bound_too_and_sums_stay_exact():
    buffer = ViolationBuffer(batch_size=10, max_distinct=5, max_rows=10, max_limits=5)
    for n in range(1_000):
        buffer.add(at(600.0 + n, client=f"c{n}", endpoint=f"/job/{n}", shadow=n % 2 == 0))
    assert buffer.rows <= 10 + 5 + 2
    rows = buffer.take(everything=True)
    assert sum(row.n for row in rows) == 1_000
    others = [row for row in rows if row.endpoint == OTHER_LIMITS]
    assert {row.shadow: (row.client, row.limit_value, row.n >= 490) for row in others} == {
        True: (OTHER_CLIENTS, 0, True),
        False: (OTHER_CLIENTS, 0, True),
    }
