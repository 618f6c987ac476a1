"""Batches have the database's time, and are written where a table was dropped or the secret replaced."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import flask
import psycopg2
import pytest
from recorded import CLIENT, decisions, queries

from otel_ratelimit import RateLimit
from otel_ratelimit.core.errors import PartWrittenError, SchemaMissingError
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.policy.identity.address_masking import address_keeper
from otel_ratelimit.postgres import Database, PostgresAnalyticsWriter, batch_tables
from otel_ratelimit.postgres.hash_key import shared_secret
from otel_ratelimit.postgres.migrate import downgrade
from otel_ratelimit.postgres.query_writer import PostgresQueryWriter

DAY = 86_400.0
ROTATED = """
INSERT INTO otel_ratelimit.hash_keys (secret) VALUES (sha256('another'));
DELETE FROM otel_ratelimit.hash_keys WHERE id = (SELECT min(id) FROM otel_ratelimit.hash_keys)
"""
TIMES = {
    "rate_limit_analytics": ("occurred_at", "last_at"),
    "rate_limit_usage": ("minute",),
    "query_templates": ("first_seen", "last_seen"),
    "query_logs": ("ts",),
    "query_totals": ("minute",),
    "table_writes": ("minute",),
    "query_repeats": ("minute",),
}
DECISIONS = ("rate_limit_analytics", "rate_limit_usage")
QUERIES = ("query_templates", "query_logs", "query_totals", "table_writes", "query_repeats")


@pytest.fixture
def opened(database):
    with closing(Database(database)) as found:
        yield found


@pytest.fixture
def times(opened):
    def of(table, column):
        [(at,)] = opened.rows(f"SELECT {column} FROM otel_ratelimit.{table}")
        return at.timestamp()

    return of


def write_all(opened, clock):
    """A batch of each kind, stamped by a host with this clock; the writers."""
    writers = (
        PostgresAnalyticsWriter(opened, lambda: "jobs", host_clock=clock),
        PostgresQueryWriter(opened, clock, host_clock=clock),
    )
    writers[0].write(decisions(clock()))
    writers[1].write(queries(clock()))
    return writers


@pytest.mark.parametrize("away", [40 * DAY, -40 * DAY, 400.0])
def test_rows_of_a_host_with_a_wrong_clock_are_stamped_with_the_databases_time(opened, times, caplog, away):
    before = time.time()
    writers = write_all(opened, lambda: time.time() + away)
    for table, columns in TIMES.items():
        for column in columns:
            at = times(table, column)
            assert before - 120 < at < time.time() + 120, table
            if column == "minute":
                assert at % 60 == 0, "minutes are still minutes"
    assert times("rate_limit_analytics", "last_at - occurred_at + timestamptz 'epoch'") == 1.0
    writers[0].write(decisions(time.time() + away))
    said = [message for message in caplog.messages if "the clock of this host says" in message]
    assert len(said) == 2, "once for each kind of batch"
    there = datetime.fromtimestamp(before + away, UTC)
    assert f"host says {there:%Y-%m-%d}" in said[0]
    assert f"that of the database {datetime.fromtimestamp(before, UTC):%Y-%m-%d}" in said[0]


def test_where_the_clocks_agree_within_minutes_rows_keep_the_time_of_the_host(opened, times, caplog):
    at = time.time() + 200.0
    write_all(opened, lambda: at)
    assert times("rate_limit_analytics", "occurred_at") == pytest.approx(at, abs=1e-5)
    assert times("query_logs", "ts") == pytest.approx(at, abs=1e-5)
    assert caplog.messages == []


def test_a_batch_that_waited_keeps_its_time(opened, times):
    """The clock is compared when it is sent; what is in it may be hours old by then."""
    PostgresAnalyticsWriter(opened, lambda: "jobs").write(decisions(time.time() - 7_200.0))
    assert times("rate_limit_analytics", "occurred_at") == pytest.approx(time.time() - 7_200.0, abs=60)


@pytest.mark.parametrize("away", [40 * DAY, -40 * DAY, 3_600.0])
@pytest.mark.parametrize("is_set_right", [False, True])
def test_what_was_recorded_before_a_clock_was_set_has_its_time_too(opened, away, is_set_right):
    """A batch holds what a minute has brought; the clock is set in the middle of it."""
    wrong, right = time.time() + away, time.time()
    before, after = (wrong, right) if is_set_right else (right, wrong)
    now = [before]
    writers = (
        PostgresAnalyticsWriter(opened, lambda: "jobs", host_clock=lambda: now[0]),
        PostgresQueryWriter(opened, lambda: now[0], host_clock=lambda: now[0]),
    )
    for writer, make in zip(writers, (decisions, queries), strict=True):
        writer.write(make(before))
    now[0] = after
    for writer, make in zip(writers, (decisions, queries), strict=True):
        first, second = make(before), make(after)
        straddling = replace(first.violations[0], last_at=after) if make is decisions else None
        writer.write(merged(first, second, straddling))
    for table, columns in TIMES.items():
        for column in columns:
            rows = opened.rows(f"SELECT {column} FROM otel_ratelimit.{table}")
            assert len(rows) == {"rate_limit_analytics": 4, "query_templates": 1}.get(table, 3)
            for (at,) in rows:
                assert abs(at.timestamp() - right) < 120, table


def merged(first, second, more):
    """One batch of what is in both."""
    if more is not None:
        return replace(
            first,
            violations=(*first.violations, *second.violations, more),
            usage=first.usage + second.usage,
        )
    return replace(
        first,
        rows=first.rows + second.rows,
        totals=first.totals + second.totals,
        writes=first.writes + second.writes,
        repeats=first.repeats + second.repeats,
    )


def test_a_clock_that_is_set_right_is_said(opened, caplog):
    away = [40 * DAY]
    writer = PostgresAnalyticsWriter(opened, lambda: "jobs", host_clock=lambda: time.time() + away[0])
    writer.write(decisions(time.time()))
    away[0] = 0.0
    writer.write(decisions(time.time()))
    writer.write(decisions(time.time()))
    assert [m for m in caplog.messages if "agree again" in m] == [caplog.messages[-1]]
    assert len(caplog.messages) == 2


def test_a_table_that_was_dropped_costs_its_own_rows_only(opened, caplog):
    """Each of them in turn, until one of each batch is left."""
    writers = write_all(opened, time.time)
    for kind, (writer, make) in zip(
        (DECISIONS, QUERIES), ((writers[0], decisions), (writers[1], queries)), strict=True
    ):
        for index, table in enumerate(kind[:-1]):
            opened.rows(f"DROP TABLE otel_ratelimit.{table}")
            with pytest.raises(PartWrittenError, match=table) as lost:
                writer.write(make(time.time()))
            assert lost.value.tables == frozenset(kind[: index + 1])
            [(count,)] = opened.rows(f"SELECT count(*) FROM otel_ratelimit.{kind[-1]}")
            assert count == index + 2
            assert f"the table otel_ratelimit.{table} was dropped: " in caplog.text
        opened.rows(f"DROP TABLE otel_ratelimit.{kind[-1]}")
        with pytest.raises(SchemaMissingError):
            writer.write(make(time.time()))


def test_a_table_that_is_made_again_is_written_again_and_what_was_lost_is_said(opened, caplog, monkeypatch):
    monkeypatch.setattr(batch_tables, "SAY_EVERY_SECONDS", 0.0)
    writer, _ = write_all(opened, time.time)
    opened.rows("ALTER TABLE otel_ratelimit.rate_limit_analytics RENAME TO elsewhere")
    for _ in range(2):
        with pytest.raises(PartWrittenError):
            writer.write(decisions(time.time()))
    assert caplog.messages[0].startswith(
        "the table otel_ratelimit.rate_limit_analytics was dropped: violations are lost"
    )
    assert caplog.messages[-1] == "lost so far, because their tables were dropped: 14 violations"
    opened.rows("ALTER TABLE otel_ratelimit.elsewhere RENAME TO rate_limit_analytics")
    writer.write(decisions(time.time()))
    assert caplog.messages[-1].endswith("exists again; 14 violations were lost")
    assert opened.rows("SELECT sum(n)::int FROM otel_ratelimit.rate_limit_analytics") == [(14,)]
    assert opened.rows("SELECT sum(requests)::int FROM otel_ratelimit.rate_limit_usage") == [(36,)]


def test_tables_that_are_not_made_yet_are_waited_for(database, opened, caplog):
    downgrade(database, revision="0003")
    writer = PostgresQueryWriter(opened, time.time)
    with pytest.raises(SchemaMissingError, match="db upgrade"):
        writer.write(queries(time.time()))
    assert opened.rows("SELECT count(*) FROM otel_ratelimit.query_logs") == [(0,)]
    assert caplog.messages == []


def test_without_the_table_of_batches_everything_is_written(opened, caplog):
    opened.rows("DROP TABLE otel_ratelimit.ingested_batches")
    write_all(opened, time.time)
    for table in TIMES:
        assert opened.rows(f"SELECT count(*) FROM otel_ratelimit.{table}") == [(1,)], table
    assert "a batch may be counted twice if the answer to it is lost" in caplog.text


def hashed(opened):
    return PostgresAnalyticsWriter(opened, lambda: "jobs", "hashed")


def clients(opened):
    return [client for (client,) in opened.rows("SELECT client FROM otel_ratelimit.rate_limit_analytics")]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM otel_ratelimit.hash_keys",
        "TRUNCATE otel_ratelimit.hash_keys",
        "UPDATE otel_ratelimit.hash_keys SET secret = sha256('another')",
        ROTATED,
    ],
)
def test_a_client_has_one_hash_also_after_the_secret_was_deleted_or_replaced(opened, caplog, change):
    running, another = hashed(opened), hashed(opened)
    for writer in (running, another):
        writer.write(decisions(time.time()))
    [first, *same] = clients(opened)
    assert same == [first]
    opened.rows(change)
    for writer in (running, hashed(opened), another, running):
        writer.write(decisions(time.time()))
    assert len(set(clients(opened)[2:])) == 1
    keep = address_keeper("hashed", shared_secret(opened))
    assert clients(opened)[2:] == [keep(CLIENT)] * 4
    assert first not in clients(opened)[2:]
    assert len([m for m in caplog.messages if "deleted or replaced" in m]) == 2, "once for each process"


def test_while_the_table_of_secrets_is_missing_the_known_one_is_used(opened, caplog):
    writer = hashed(opened)
    writer.write(decisions(time.time()))
    opened.rows("DROP TABLE otel_ratelimit.hash_keys")
    writer.write(decisions(time.time()))
    assert len(set(clients(opened))) == 1
    assert len(clients(opened)) == 2
    assert "the secret for hashes that was read before stays in use" in caplog.text


def test_the_secret_itself_is_not_sent(opened, monkeypatch):
    sent = []
    rows = Database.rows

    def seen(self, statement, parameters=None):
        sent.append(str(parameters))
        return rows(self, statement, parameters)

    writer = hashed(opened)
    writer.write(decisions(time.time()))
    secret = shared_secret(opened)
    monkeypatch.setattr(Database, "rows", seen)
    writer.write(decisions(time.time()))
    assert len(sent) == 1, "one statement, one round trip"
    assert secret.hex() not in sent[0]
    assert repr(secret)[2:-1] not in sent[0]


@pytest.fixture
def limited(database):
    """`limited(**options)`: an application whose fourth request is refused, and its `RateLimit`."""
    made = []

    def make(**options):
        app = flask.Flask(__name__)
        app.add_url_rule("/a", "a", lambda: "ok")
        policy = parse_policy('version = 1\n[tiers]\ndefault = "3/minute"\n', "test.toml")
        made.append(RateLimit(app, policy=policy, environ={}, database_url=database, **options))
        return app.test_client(), made[-1]

    yield make
    for rate_limit in made:
        rate_limit.close()


@pytest.mark.parametrize("away", [40 * DAY, -40 * DAY])
def test_an_application_on_a_host_with_a_wrong_clock_empties_no_table(clocked, limited, caplog, away):
    now = datetime.now(UTC)
    clocked.set_clock(now)
    clocked.fill([now, now], service="other")
    client, rate_limit = limited(clock=lambda: time.time() + away)
    for _ in range(5):
        client.get("/a")
    deadline = time.monotonic() + 10
    while "no old rows are deleted" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert rate_limit.analytics.recorder.flush()
    left = clocked.all_left()
    recorded = {"rate_limit_analytics", "rate_limit_usage"}
    assert all(count >= 2 for table, count in left.items() if table not in recorded)
    [(violations, at)] = clocked.run(
        "SELECT sum(n)::int, max(occurred_at) FROM otel_ratelimit.rate_limit_analytics"
        " WHERE service <> 'other'"
    )
    assert violations == 2
    assert abs((at - now).total_seconds()) < 300
    assert clocked.left("rate_limit_analytics", "other") == 2


def test_violations_whose_table_was_dropped_are_counted_as_dropped(database, limited, caplog):
    caplog.set_level(logging.WARNING)
    client, rate_limit = limited()
    with closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP TABLE otel_ratelimit.rate_limit_analytics")
        for _ in range(5):
            client.get("/a")
        assert rate_limit.analytics.recorder.flush()
        state = rate_limit.analytics.recorder.state
        assert (state.recorded, state.dropped, state.failing) == (0, 2, "")
        cursor = connection.cursor()
        cursor.execute("SELECT sum(requests)::int FROM otel_ratelimit.rate_limit_usage")
        assert cursor.fetchone() == (5,)
    rate_limit.close()
    said = [message for message in caplog.messages if message.startswith("lost so far")]
    assert said == ["lost so far, because their tables were dropped: 2 violations"]
