"""PgBouncer between the plugin and PostgreSQL: what works behind it, and what is said where it cannot."""

from __future__ import annotations

import getpass
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import psycopg2
import pytest
from flask import Flask
from psycopg2 import extensions

from otel_ratelimit import RateLimit
from otel_ratelimit.analytics import get_violations_by_endpoint
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.periods import Period
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.maintenance import LOCK, maintain
from otel_ratelimit.postgres.migrate import current, downgrade, upgrade
from otel_ratelimit.postgres.query_day import postgres_query_day
from otel_ratelimit.postgres.retention import RetentionRequest
from otel_ratelimit.queries import detect_duplicates
from otel_ratelimit.queries.capture_psycopg2 import remove
from otel_ratelimit.reports import generate_daily_cache_report

pytestmark = pytest.mark.full

POLICY = parse_policy('version = 1\n[tiers]\ndefault = "3/hour"\n', "pooled.toml")
CONFIGURATION = """
[databases]
* = host={socket} user=postgres pool_size={size}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
server_login_retry = 1
{user}
{more}
"""
ADVISORY = """
SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def limited():
    """`limited(url)`: a `RateLimit` that records there."""
    made = []

    def make(url, **arguments):
        made.append(RateLimit(database_url=url, environ={}, **arguments))
        return made[-1]

    yield make
    for rate_limit in made:
        rate_limit.close(timeout=1.0)
    remove()


@pytest.fixture
def pooled(program, tmp_path):
    """`pooled(url, mode, size)`: the URL of the same database behind a PgBouncer of its own."""
    servers = []

    def start(url, mode="transaction", size=4, more=""):
        server = program("pgbouncer")("-q", str(tmp_path / f"{len(servers)}.ini"))
        configuration = CONFIGURATION.format(
            socket=extensions.parse_dsn(url)["host"],
            port=server.port,
            mode=mode,
            size=size,
            # It does not run as root; the socket is the server's user's.
            user="user = nobody" if getpass.getuser() == "root" else "",
            more=more,
        )
        (tmp_path / f"{len(servers)}.ini").write_text(configuration)
        tmp_path.chmod(0o755)
        server.start()
        servers.append(server)
        return f"postgresql://app@127.0.0.1:{server.port}/{extensions.parse_dsn(url)['dbname']}"

    yield start
    for server in servers:
        server.stop()


def asked(url, statement, **parameters):
    with closing(Database(url)) as opened:
        return opened.rows(statement, parameters)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_decisions_and_queries_are_recorded_and_read(pooled, database, limited, mode):
    url = pooled(database, mode)
    rate_limit = limited(url, policy=POLICY)
    app = Flask("shop")
    connection = psycopg2.connect(url)

    @app.get("/jobs")
    def jobs():
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL search_path = pg_catalog")
            cursor.execute("SELECT set_config('app.tenant', %s, true)", ("7",))
            for number in range(5):
                cursor.execute("SELECT %s::int + 1", (number,))
            cursor.execute("PREPARE question AS SELECT 1")
            cursor.execute("EXECUTE question")
            cursor.execute("DEALLOCATE question")
        return "ok"

    rate_limit.init_app(app)
    with app.test_client() as client:
        assert [client.get("/jobs").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert rate_limit.queries.log.flush(20.0)
    assert rate_limit.analytics.recorder.flush(20.0)
    connection.close()
    today = datetime.now(UTC).date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    [group] = get_violations_by_endpoint(yesterday, tomorrow, database_url=url)
    assert (group.key, group.violations) == ("/jobs", 2)
    [repeats] = detect_duplicates(yesterday, tomorrow, database_url=url).in_requests
    assert (repeats.endpoint, repeats.requests, repeats.most) == ("/jobs", 3, 5)
    [(seen,)] = asked(database, "SELECT sum(n)::int FROM otel_ratelimit.query_totals")
    assert seen == 3 * 10
    assert rate_limit.close()
    assert asked(database, ADVISORY) == [(0,)]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_it_migrates_and_leaves_nothing_behind_on_the_poolers_connections(pooled, empty_database, mode):
    url = pooled(empty_database, mode, size=2)
    assert upgrade(url) == list(upgrade_steps())
    assert upgrade(url) == []
    assert current(url).pending == ()
    assert asked(empty_database, ADVISORY) == [(0,)]
    holding = [psycopg2.connect(url) for _ in range(2)]
    for each in holding:
        with each.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
            assert cursor.fetchone() == ("0", "0")
    for each in holding:
        each.close()
    downgrade(url)
    assert asked(url, "SELECT to_regnamespace('otel_ratelimit')") == [(None,)]


def upgrade_steps():
    from otel_ratelimit.postgres.migration_steps import Steps

    return Steps().names


def test_of_two_processes_that_migrate_through_it_one_does(pooled, empty_database):
    url = pooled(empty_database)
    program = "import sys; from otel_ratelimit.postgres.migrate import upgrade; print(upgrade(sys.argv[1]))"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert ended == sorted(["[]", str(list(upgrade_steps()))])


def test_one_process_maintains_at_a_time_and_the_lock_is_not_left_with_the_pooler(pooled, database):
    url = pooled(database)
    now, month = datetime.now(UTC), timedelta(days=30)
    with closing(Database(url)) as one, closing(Database(url)) as other:
        found = []
        report = maintain(
            one,
            RetentionRequest(month),
            now=now,
            report=lambda _: found.append(maintain(other, RetentionRequest(month), now=now)),
        )
        assert not report.skipped
        assert found
        assert all(each.skipped for each in found)
        # Whichever of the pooler's connections it is given.
        several = [extensions.connection(url) for _ in range(2)]
        for each in several:
            each.cursor().execute("SELECT 1")
        assert not maintain(other, RetentionRequest(month), now=now).skipped
        for each in several:
            each.close()
    assert asked(database, ADVISORY) == [(0,)]
    assert asked(database, "SELECT pg_try_advisory_xact_lock(%(lock)s)", lock=LOCK) == [(True,)]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_the_nightly_report_is_made_through_it(pooled, database, record, mode):
    url = pooled(database, mode)
    maintain_at(url)
    yesterday = datetime.now(UTC).replace(hour=12, minute=0) - timedelta(days=1)
    record(database, *(yesterday + timedelta(seconds=number) for number in range(200)), keys=5)
    report = generate_daily_cache_report(yesterday.date(), database_url=url)
    assert report.analysis.all_executions == 200
    assert asked(url, "SELECT count(*)::int FROM otel_ratelimit.cache_analysis_daily") == [(1,)]
    assert asked(database, ADVISORY) == [(0,)]


def maintain_at(url):
    with closing(Database(url)) as opened:
        maintain(opened, RetentionRequest(timedelta(days=30)), now=datetime.now(UTC))


def read_a_day(url):
    """Read like `report show --so-far`, which takes no lock before."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with postgres_query_day(url, Period(start, start + timedelta(days=1))):
        pass


@pytest.mark.parametrize(
    "work",
    [
        upgrade,
        current,
        downgrade,
        maintain_at,
        lambda url: generate_daily_cache_report(date(2026, 1, 1), database_url=url),
        read_a_day,
    ],
    ids=["upgrade", "current", "downgrade", "maintain", "report", "a day's queries"],
)
def test_where_single_statements_are_pooled_that_is_said_with_what_to_do(pooled, database, work):
    with pytest.raises(DatabaseError, match=r"pool_mode = statement.*pool_mode = transaction.*directly"):
        work(pooled(database, mode="statement"))
    assert asked(database, ADVISORY) == [(0,)]


def test_what_pgbouncer_refuses_when_connecting_is_said_with_what_to_do(pooled, database):
    url = pooled(database) + "?options=-c%20statement_timeout%3D5s"
    for work in (upgrade, lambda url: asked(url, "SELECT 1")):
        with pytest.raises(DatabaseError, match=r"unsupported startup parameter.*ignore_startup_parameters"):
            work(url)


def test_what_pgbouncer_passes_over_is_no_obstacle(pooled, database):
    url = pooled(database, more="ignore_startup_parameters = options")
    url += "?options=-c%20statement_timeout%3D5s"
    assert current(url).pending == ()
    assert asked(url, "SELECT 1") == [(1,)]


def test_the_applications_queries_have_one_key_whichever_connection_the_pooler_gives(
    pooled, database, limited
):
    url = pooled(database, size=3)
    rate_limit = limited(url)
    rate_limit.queries.claim()
    others = []

    def ask():
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SELECT 42 AS answer, pg_backend_pid()")
            others.append(cursor.fetchone()[1])
            together.wait()

    together = threading.Barrier(2, timeout=20)
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rate_limit.queries.log.flush(20.0)
    assert len(set(others)) == 2
    keys = asked(
        database,
        "SELECT count(DISTINCT key_hash)::int, sum(n)::int, sum(rows)::int FROM otel_ratelimit.query_logs",
    )
    assert keys == [(1, 2, 2)]


def test_a_pooler_whose_database_is_away_loses_nothing(pooled, own_postgres, limited):
    upgrade(own_postgres.url())
    url = pooled(own_postgres.url())
    rate_limit = limited(url)
    recorder = rate_limit.analytics.recorder
    app = Flask("shop")
    app.add_url_rule("/", "index", lambda: "ok")
    rate_limit.init_app(app)
    own_postgres.stop()
    with app.test_client() as client:
        assert client.get("/").status_code == 200
    assert recorder.flush(1.0) is False
    own_postgres.start()
    # PgBouncer waits before it tries to log in again.
    while not recorder.flush(20.0):
        threading.Event().wait(0.1)
    [(requests,)] = asked(
        own_postgres.url(), "SELECT sum(requests)::int FROM otel_ratelimit.rate_limit_usage"
    )
    assert requests == 1


def test_where_single_statements_are_pooled_what_is_one_statement_works(pooled, database, limited):
    """Recording and reading are, and a lock that cannot be had is not left behind."""
    url = pooled(database, mode="statement")
    rate_limit = limited(url, policy=POLICY)
    app = Flask("shop")
    app.add_url_rule("/", "index", lambda: "ok")
    rate_limit.init_app(app)
    with app.test_client() as client:
        assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert rate_limit.analytics.recorder.flush(20.0)
    assert rate_limit.queries.log.flush(20.0)
    today = datetime.now(UTC).date()
    [group] = get_violations_by_endpoint(today - timedelta(days=1), today, database_url=url)
    assert (group.key, group.violations) == ("/", 1)
    assert asked(database, ADVISORY) == [(0,)]


def test_with_one_connection_to_the_database_the_upkeep_ends_in_time_and_says_why(pooled, database):
    """It needs two: one holds the lock, and the work is done on the other."""
    url = pooled(database, size=1)
    with closing(Database(url)) as opened:
        with pytest.raises(DatabaseError, match="did not answer in time"):
            maintain(
                opened, RetentionRequest(timedelta(days=30)), now=datetime.now(UTC), patience_seconds=0.5
            )
        assert opened.rows("SELECT 1") == [(1,)]
    assert asked(database, ADVISORY) == [(0,)]
