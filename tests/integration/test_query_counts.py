"""The count of executions equals the server's own count, over every way in which psycopg2 runs a query."""

from __future__ import annotations

import io
import re
from collections import Counter
from contextlib import closing

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest
import sqlalchemy
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from psycopg2 import sql
from variants import quick_first

from otel_ratelimit.core.background import BackgroundWorker
from otel_ratelimit.core.settings import Settings
from otel_ratelimit.policy import builtin_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.queries.capture_psycopg2 import capture
from otel_ratelimit.queries.fingerprint import hash_query
from otel_ratelimit.runtime.recording import RecordingContext, open_queries

TABLES = """
CREATE EXTENSION pg_stat_statements;
CREATE TABLE jobs (id serial PRIMARY KEY, name text, state text);
INSERT INTO jobs (name, state) SELECT 'job ' || i, 'open' FROM generate_series(1, 100) AS i;
SELECT pg_stat_statements_reset();
"""
CALLS = """
SELECT query, calls::int FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
WHERE datname = current_database() AND toplevel AND query !~ 'pg_stat_statements'
"""


@pytest.fixture
def application(counting_postgres, new_database):
    """The application's database, of which the server counts the statements."""
    url = new_database(counting_postgres)
    with closing(Database(url)) as database:
        database.rows(TABLES)
    return url


@pytest.fixture
def log(database):
    """The query log, writing to a database on another server."""
    analytics = Database(database)
    context = RecordingContext(
        settings=Settings(),
        policy=builtin_policy().analytics,
        worker=BackgroundWorker(),
        meter=MeterProvider().get_meter("test"),
        service=lambda: "counted",
    )
    queries = open_queries(capture(), analytics, context)
    queries.claim()
    queries.log.tick()
    yield queries.log
    queries.close()
    analytics.close()


@pytest.fixture(params=quick_first(["database/dup", ""]), ids=["both conventions", "old conventions"])
def traced(request, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)
    instrumentor = Psycopg2Instrumentor()
    instrumentor.instrument(tracer_provider=TracerProvider(), skip_dep_check=True)
    yield
    instrumentor.uninstrument()


def plain(url):
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for number in range(20):
            cursor.execute("SELECT name FROM jobs WHERE id = %s", (number,))
            cursor.execute("SELECT name FROM jobs WHERE state = %(state)s", {"state": "open"})
            cursor.execute(b"SELECT count(*) FROM jobs")
            cursor.execute(f"SELECT state FROM jobs WHERE name = 'job {number}' -- a comment\n;")
            cursor.execute(
                sql.SQL("SELECT {} FROM jobs WHERE id = %s").format(sql.Identifier("id")), (number,)
            )
            cursor.execute("/* first */ UPDATE jobs SET state = %s WHERE id = %s", ("done", number))
        cursor.execute("SELECT 1; SELECT 2; SELECT 'a;b'")


def many(url):
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO jobs (name) VALUES (%s)", [(f"a{n}",) for n in range(37)])
        psycopg2.extras.execute_values(
            cursor, "INSERT INTO jobs (name, state) VALUES %s", [("b", "x;y")] * 250, page_size=100
        )
        psycopg2.extras.execute_batch(
            cursor, "DELETE FROM jobs WHERE name = %s", [(f"a{n}",) for n in range(37)], page_size=10
        )
        cursor.callproc("upper", ["a"])


def cursors_of_all_kinds(url):
    with closing(psycopg2.connect(url, cursor_factory=psycopg2.extras.DictCursor)) as connection, connection:
        for factory in (None, psycopg2.extras.RealDictCursor, psycopg2.extras.NamedTupleCursor):
            with connection.cursor(cursor_factory=factory) as cursor:
                for number in range(11):
                    cursor.execute("SELECT name FROM jobs WHERE id = %s", (number,))
                    cursor.fetchall()
    with closing(psycopg2.connect(url, connection_factory=psycopg2.extras.RealDictConnection)) as connection:
        connection.cursor().execute("SELECT state FROM jobs")
    pool = psycopg2.pool.ThreadedConnectionPool(1, 3, url)
    for _ in range(7):
        pooled = pool.getconn()
        pooled.cursor().execute("SELECT id FROM jobs")
        pool.putconn(pooled)
    pool.closeall()


def failures(url):
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        for statement in (
            "SELECT nowhere FROM jobs",
            "SELECT 1 / 0 FROM jobs",
            "INSERT INTO jobs (id) VALUES (1)",
        ):
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement)
        with pytest.raises(psycopg2.Error):
            cursor.executemany("INSERT INTO jobs (id) VALUES (%s)", [(1001,), (1002,), (1,), (1003,)])


def through_sqlalchemy(url):
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(url))
    jobs = sqlalchemy.Table("jobs", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        for number in range(9):
            connection.execute(sqlalchemy.select(jobs.c.name).where(jobs.c.id == number)).all()
        connection.execute(jobs.insert(), [{"name": f"s{n}"} for n in range(1500)])
        connection.execute(sqlalchemy.text("UPDATE jobs SET state = :s"), {"s": "x"})
    engine.dispose()


def suppressed(url):
    with (
        closing(psycopg2.connect(url)) as connection,
        connection,
        connection.cursor() as cursor,
        suppress_instrumentation(),
    ):
        for _ in range(5):
            cursor.execute("SELECT name FROM jobs LIMIT 5")


PATHS = [plain, many, cursors_of_all_kinds, failures, through_sqlalchemy, suppressed]


def counted(url):
    """Calls by our template, as the server counts them."""
    with closing(Database(url)) as database:
        calls = Counter()
        for query, number in database.rows(CALLS):
            # Its placeholders and ours mean the same.
            calls[hash_query(query).text] += number
        return calls


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("path", PATHS)
def test_executions_are_those_that_the_server_counts(log, application, database, path):
    path(application)
    assert log.flush()
    with closing(Database(database)) as analytics:
        totals = "SELECT template, sum(n - failed)::int FROM otel_ratelimit.query_totals AS t"
        totals += " JOIN otel_ratelimit.query_templates USING (template_hash)"
        succeeded = "GROUP BY 1 HAVING sum(n - failed) > 0"
        ours = dict(analytics.rows(f"{totals} {succeeded}"))
        logged = "SELECT template, sum(n)::int FROM otel_ratelimit.query_logs AS t"
        logged += " JOIN otel_ratelimit.query_templates USING (template_hash) WHERE status = 'ok' GROUP BY 1"
        assert dict(analytics.rows(logged)) == ours
    # Not counted by the server with `track_utility` off.
    utility = re.compile(r"begin|commit|rollback|set |show |declare|fetch|close")
    ours = {text: n for text, n in ours.items() if not utility.match(text)}
    assert ours == dict(counted(application))
    assert sum(ours.values()) > (0 if path is failures else 4)


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(TraceIdRatioBased(0.1))])
def test_queries_of_traces_that_are_not_sampled_are_seen_and_their_spans_not_exported(
    log, application, database, sampler
):
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = Psycopg2Instrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    tracer = provider.get_tracer("test")
    try:
        with closing(psycopg2.connect(application)) as connection, connection.cursor() as cursor:
            for number in range(400):
                with tracer.start_as_current_span("request"):
                    cursor.execute("SELECT name FROM jobs WHERE id = %s", (number,))
    finally:
        instrumentor.uninstrument()
    assert log.flush()
    with closing(Database(database)) as analytics:
        assert analytics.rows("SELECT sum(n)::int FROM otel_ratelimit.query_logs") == [(400,)]
    exported = len(exporter.get_finished_spans())
    assert exported == 0 if sampler is ALWAYS_OFF else exported < 400


UTILITIES = """
SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
WHERE datname = current_database() AND toplevel AND query ~* %(like)s
"""


def test_named_cursors_and_copies_are_counted_as_the_server_counts_them(log, application, database):
    # To the server both are utilities, which it counts where it is told to.
    counting = f"{application}&options=-cpg_stat_statements.track_utility%3Don"
    with closing(psycopg2.connect(counting)) as connection, connection:
        for name in ("one", "two", "three"):
            with connection.cursor(name) as cursor:
                cursor.itersize = 10
                cursor.execute("SELECT name FROM jobs")
                assert len(list(cursor)) == 100
        with connection.cursor() as cursor:
            for number in range(4):
                cursor.copy_from(io.StringIO(f"{1000 + number}\tann\n"), "jobs", columns=("id", "name"))
            for _ in range(2):
                cursor.copy_expert("COPY jobs TO STDOUT", io.StringIO())
    assert log.flush()
    logged = "SELECT template, sum(n)::int, count(DISTINCT key_hash)::int FROM otel_ratelimit.query_logs"
    logged += " JOIN otel_ratelimit.query_templates USING (template_hash) GROUP BY 1"
    with closing(Database(database)) as analytics:
        ours = {template: (n, keys) for template, n, keys in analytics.rows(logged)}
    assert ours["select name from jobs"] == (3, 1), "under any name, and however much is fetched"
    copied = {template.partition(" with ")[0]: n for template, (n, _) in ours.items() if "copy" in template}
    assert copied == {"copy jobs(id, name) from stdin": 4, "copy jobs to stdout": 2}
    with closing(Database(application)) as server:
        for like, calls in (("^declare.*from jobs", 3), ("^copy.*from stdin", 4), ("^copy.*to stdout", 2)):
            assert server.rows(UTILITIES, {"like": like}) == [(calls,)], like
