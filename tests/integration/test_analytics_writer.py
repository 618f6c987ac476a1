"""Batches in a real PostgreSQL: whole, once, and with nothing in them that the database would refuse."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from uuid import uuid4

import pytest

from otel_ratelimit.analytics.recorder import Recorder
from otel_ratelimit.analytics.records import Batch, UsageRow, Violation
from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.delivery import Delivery, halves
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.route_plan import KeySpec, RoutePlan
from otel_ratelimit.policy.identity.address_masking import address_keeper, mask_address
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter
from otel_ratelimit.postgres.sql_files import statements

VIOLATION = Violation(
    occurred_at=1_700_000_000.25,
    last_at=1_700_000_030.5,
    endpoint="/api/jobs/<int:id>",
    method="GET",
    client="192.0.2.77",
    user_id="ann@example.org",
    tier="default",
    limit_text="10 per 1 minute",
    limit_value=10,
    limit_seconds=60,
    current_count=10,
    user_agent="curl/8",
    trace_id="0" * 31 + "1",
    shadow=True,
    n=7,
)
USAGE = UsageRow(
    minute=1_699_999_980,
    endpoint="/api/jobs/<int:id>",
    method="GET",
    tier="default",
    decision=DecisionKind.SHADOW_BLOCKED,
    limit_text="10 per 1 minute",
    limit_value=10,
    limit_seconds=60,
    requests=9,
    utilization={101: 3, 10: 6},
    clients={10: 4},
)


@pytest.fixture
def opened(each_database):
    found = Database(each_database)
    yield found
    found.close()


@pytest.fixture
def rows(opened):
    return lambda columns, table="rate_limit_analytics": opened.rows(
        f"SELECT {columns} FROM otel_ratelimit.{table}"
    )


def writer(database, **options):
    return PostgresAnalyticsWriter(database, lambda: "jobs", **options)


def test_every_column_is_what_was_recorded(opened, rows):
    writer(opened).write(Batch(uuid4(), (VIOLATION,), (USAGE,)))
    [violation] = rows(
        "extract(epoch FROM occurred_at)::float8, extract(epoch FROM last_at)::float8, service, endpoint,"
        " method, client, user_id, tier, limit_text, limit_value, limit_seconds, current_count, user_agent,"
        " trace_id, shadow, n"
    )
    assert violation == (
        1_700_000_000.25,
        1_700_000_030.5,
        "jobs",
        "/api/jobs/<int:id>",
        "GET",
        "192.0.2.77",
        "ann@example.org",
        "default",
        "10 per 1 minute",
        10,
        60,
        10,
        "curl/8",
        "0" * 31 + "1",
        True,
        7,
    )
    [usage] = rows(
        "extract(epoch FROM minute)::int, service, decision, limit_text, requests, utilization,"
        " utilization_n, clients_n",
        "rate_limit_usage",
    )
    assert usage == (
        1_699_999_980,
        "jobs",
        "shadow_blocked",
        "10 per 1 minute",
        9,
        [10, 101],
        [6, 3],
        [4, 0],
    )


def test_a_batch_sent_twice_counts_once_also_when_both_are_sent_at_once(opened, rows):
    batch = Batch(uuid4(), (VIOLATION,), (USAGE,))
    threads = [threading.Thread(target=writer(opened).write, args=(batch,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer(opened).write(batch)
    assert rows("sum(n)::int") == [(7,)]
    assert rows("sum(requests)::int", "rate_limit_usage") == [(9,)]


def test_a_batch_is_written_whole_or_not_at_all(opened, rows):
    impossible = replace(USAGE, requests=-1)
    batch = Batch(uuid4(), (VIOLATION,), (impossible,))
    with pytest.raises(DatabaseError):
        writer(opened).write(batch)
    assert rows("count(*)") == rows("count(*)", "ingested_batches") == [(0,)]


@pytest.mark.parametrize(
    "text",
    [
        "nul \0 in it",
        "half \ud800 a pair",
        "'); DROP TABLE x; --",
        '%s %(id)s \\ " {}',
        "ключ \U0001f511",
        "x" * 10_000,
    ],
)
def test_whatever_a_client_sends_can_be_written(opened, rows, text):
    hostile = replace(VIOLATION, user_agent=text, user_id=text, endpoint=text, client=text)
    writer(opened).write(Batch(uuid4(), (hostile,), ()))
    [(agent, user)] = rows("user_agent, user_id")
    assert agent == user
    assert len(agent) <= 512
    assert "\0" not in agent
    if text.isprintable() and len(text) < 512:
        assert agent == text


def test_rows_of_a_clock_that_was_set_back_are_kept(opened, rows):
    writer(opened).write(Batch(uuid4(), (replace(VIOLATION, last_at=1.0),), ()))
    assert rows("occurred_at = last_at, n::int") == [(True, 7)]


def test_an_address_is_kept_whole_masked_or_hashed(opened, rows):
    for style in ("whole", "masked", "hashed"):
        writer(opened, addresses=style).write(Batch(uuid4(), (VIOLATION,), ()))
    whole, masked, hashed = [client for (client,) in rows("client")]
    assert (whole, masked) == ("192.0.2.77", "192.0.2.0/24")
    assert re.fullmatch("[0-9a-f]{32}", hashed)


def test_a_secret_that_another_process_is_making_is_waited_for_and_used(opened, rows):
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid"
    waiting += " FROM pg_database WHERE datname = current_database())"
    late = threading.Thread(
        target=lambda: writer(opened, addresses="hashed").write(Batch(uuid4(), (VIOLATION,), ()))
    )
    with opened.session() as session, session.transaction(10.0) as first:
        first.run(statements("analytics_writer")["make_hash_key"].partition(";")[2], {"secret": b"1" * 32})
        late.start()
        deadline = time.monotonic() + 10.0
        while not opened.rows(waiting):
            assert time.monotonic() < deadline
    late.join()
    assert [bytes(secret) for (secret,) in rows("secret", "hash_keys")] == [b"1" * 32]
    assert rows("client") == [(address_keeper("hashed", b"1" * 32)(VIOLATION.client),)]


def test_all_processes_hash_with_the_one_secret_of_the_database(opened, rows, each_database):
    def from_another_process():
        other = Database(each_database)
        writer(other, addresses="hashed").write(Batch(uuid4(), (VIOLATION,), ()))
        other.close()

    threads = [threading.Thread(target=from_another_process) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({client for (client,) in rows("client")}) == 1
    writer(opened, addresses="hashed", hash_key=b"another secret").write(Batch(uuid4(), (VIOLATION,), ()))
    assert len({client for (client,) in rows("client")}) == 2


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("192.0.2.77:5123", "192.0.2.0/24"),
        ("unknown", "unknown"),
        ("<other>", "<other>"),
        ("203.0.113.77, 10.0.0.1", "<hidden>"),
        ("for=203.0.113.77", "<hidden>"),
        ("203.0.113.77/32", "<hidden>"),
        ("203.0.113.077", "<hidden>"),
        ("0xcb.0.0x71.77", "<hidden>"),
        ("unknown 203.0.113.77", "<hidden>"),
        ("alice@203.0.113.77", "<hidden>"),
        ("\ud800", "<hidden>"),
    ],
)
def test_a_mask_leaves_the_network_and_our_own_words_and_no_more(address, masked):
    assert mask_address(address) == masked


def test_hashes_differ_by_address_and_key_and_leave_our_own_words():
    one, other = address_keeper("hashed", b"a" * 32), address_keeper("hashed", b"b" * 32)
    assert one("192.0.2.7") == one("192.0.2.7")
    assert len({one("192.0.2.7"), one("192.0.2.8"), other("192.0.2.7")}) == 3
    assert (one("<other>"), one("unknown")) == ("<other>", "unknown")


@pytest.mark.parametrize(
    "text",
    ["203.0.113.77, 10.0.0.1", "for=203.0.113.77", "203.0.113.77/32", "\ud800", "<other> 203.0.113.77"],
)
def test_what_is_not_exactly_an_address_is_hashed_as_well(text):
    assert re.fullmatch("[0-9a-f]{32}", address_keeper("hashed", b"a" * 32)(text))


def test_one_address_has_one_hash_however_it_is_spelt():
    keep = address_keeper("hashed", b"a" * 32)
    for spelt in ("192.0.2.7:5123", " 192.0.2.7 ", "::ffff:192.0.2.7"):
        assert keep(spelt) == keep("192.0.2.7")
    assert keep("[2001:DB8::1]:80") == keep("2001:db8::1%eth0") == keep("2001:db8::1")


BAD_ROWS = {
    "beyond bigint": {"limit_value": 2**63},
    "beyond the calendar": {"occurred_at": 1e18, "last_at": 1e18},
    "before the calendar": {"occurred_at": -1e13},
    "not a number": {"limit_value": float("nan")},
    "no client": {"client": None},
    "no text": {"user_id": 42},
    "not serialisable": {"limit_value": object()},
    "a null": {"shadow": None},
}


class Losses:
    def __init__(self):
        self.written, self.lost = 0, 0

    def recorded(self, violations):
        self.written += violations

    def dropped(self, violations):
        self.lost += violations


@pytest.fixture
def recorder(opened):
    losses = Losses()
    found = Recorder(writer(opened), losses, lambda: None, batch_size=10_000, flush_interval=60.0)
    found.losses = losses
    return found


@pytest.mark.parametrize(("place", "bad"), list(enumerate(BAD_ROWS.values())), ids=BAD_ROWS)
def test_a_row_that_cannot_be_written_takes_no_other_with_it(recorder, rows, caplog, place, bad):
    for n in range(9):
        odd = bad if n == place else {}
        recorder.violated(replace(VIOLATION, n=1, **{"client": f"192.0.2.{n}", **odd}))
    recorder.decided(exempt_decision(), None, None)
    assert recorder.flush()
    assert rows("sum(n)::int, count(DISTINCT client)::int") == [(8, 8)]
    assert rows("sum(requests)::int", "rate_limit_usage") == [(1,)]
    assert recorder.losses.written == 8
    assert caplog.text.count("the database rejected them") == 1
    assert "the usage of 0 requests dropped" in caplog.text
    assert recorder.state.pending == 0


def test_of_a_hundred_rows_twenty_bad_ones_are_given_up_with_one_line(recorder, rows, caplog):
    for n in range(100):
        odd = {"limit_value": 2**63} if n % 5 == 0 else {}
        recorder.violated(replace(VIOLATION, n=2, client=f"192.0.2.{n}", **odd))
    assert recorder.flush()
    assert rows("sum(n)::int, count(*)::int") == [(160, 80)]
    assert (recorder.losses.written, recorder.losses.lost) == (160, 40)
    [said] = [
        record.getMessage()
        for record in caplog.records
        if "the database rejected them" in record.getMessage()
    ]
    assert said.startswith("40 violations and the usage of 0 requests dropped")
    assert said.endswith("out of range for type bigint")


def test_a_bad_row_of_usage_takes_neither_usage_nor_violations_with_it(opened, rows):
    good, bad = [USAGE, replace(USAGE, endpoint="/b")], replace(USAGE, endpoint="/c", requests=-1)
    delivery, given_up = delivery_to(opened)
    assert delivery.send(Batch(uuid4(), (VIOLATION,), (*good, bad)))
    assert rows("sum(n)::int") == [(7,)]
    assert sorted(rows("endpoint", "rate_limit_usage")) == [("/api/jobs/<int:id>",), ("/b",)]
    assert [batch.usage for batches in given_up for batch in batches] == [(bad,)]


def delivery_to(opened):
    given_up = []

    def split(batch):
        return [
            Batch(uuid4(), half.get("violations", ()), half.get("usage", ()))
            for half in halves(violations=batch.violations, usage=batch.usage)
        ]

    delivery = Delivery(
        writer(opened),
        "analytics",
        written=lambda _: None,
        refused=lambda batches, _: given_up.append(batches),
        part_written=lambda *_: None,
        split=split,
    )
    return delivery, given_up


def exempt_decision():
    plan = RoutePlan("a", "GET", "/a", "default", True, KeySpec("ip"), (), 1, "closed", "")
    return Decision(DecisionKind.EXEMPT, plan, (), (), None, -1, 600.0, 0.001)


def test_the_secret_is_not_for_readers_of_dashboards(opened, rows):
    writer(opened, addresses="hashed").write(Batch(uuid4(), (VIOLATION,), ()))
    [(granted,)] = opened.rows("SELECT has_table_privilege('public', 'otel_ratelimit.hash_keys', 'SELECT')")
    assert granted is False
