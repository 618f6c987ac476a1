"""The queries of an application that knows nothing of it, in `query_logs`, whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest
from components import MissingError

from otel_ratelimit.core import names
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.migrate import upgrade

POLICY = """
version = 1
[tiers]
default = "1000000/minute"
[analytics]
flush_interval = "{flush}"
"""
APP = """
import io, logging, os, threading
import flask, psycopg2, psycopg2.extras

if "LOG_EVERYTHING" in os.environ:
    logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s")

# Before the application is made, as many do.
local = threading.local()

def connection():
    if getattr(local, "connection", None) is None or local.connection.closed:
        local.connection = psycopg2.connect(os.environ["APP_DATABASE"])
        local.connection.autocommit = True
    return local.connection

app = flask.Flask(__name__)

@app.get("/health")
def health():
    return "ok"

@app.get("/job/<int:job>")
def job(job):
    cursor = connection().cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    cursor.execute("SELECT id, name FROM jobs WHERE id = %s", (job,))
    return flask.jsonify(cursor.fetchone())

@app.get("/list")
def jobs():
    cursor = connection().cursor()
    cursor.execute("SELECT id FROM jobs ORDER BY id LIMIT 10")
    names = []
    for (job,) in cursor.fetchall():
        cursor.execute("SELECT name FROM jobs WHERE id = %s", (job,))
        names += cursor.fetchone()
    return flask.jsonify(names)

@app.post("/rename/<int:job>")
def rename(job):
    connection().cursor().execute("UPDATE jobs SET name = 'x' WHERE id = %s", (job,))
    return "ok"

@app.post("/login")
def login():
    from otel_ratelimit.queries import log_query
    cursor = connection().cursor()
    secrets = ("hunter2-%s", "ann%s@example.org", "4111-1111-%s")
    number = flask.request.args["n"]
    password, mail, card = (text % number for text in secrets)
    cursor.execute("SELECT count(*) FROM jobs WHERE name = %s OR name = %s", (password, mail))
    cursor.execute(f"SELECT count(*) FROM jobs WHERE name IN ('{password}', E'{card}', $${mail}$$)")
    cursor.executemany("UPDATE jobs SET name = name WHERE name = %s", [(password,), (card,)])
    psycopg2.extras.execute_values(cursor, "INSERT INTO secrets VALUES %s", [(password, mail), (card, mail)])
    psycopg2.extras.execute_batch(cursor, "DELETE FROM secrets WHERE a = %s", [(password,), (card,)])
    cursor.callproc("upper", [password])
    try:
        cursor.execute("INSERT INTO secrets VALUES (%s, %s, 'third column')", (password, card))
    except psycopg2.Error:
        pass
    with psycopg2.connect(os.environ["APP_DATABASE"]) as other:
        with other.cursor("named-" + password) as named:
            named.execute("SELECT name FROM jobs WHERE name = %s", (mail,))
            named.fetchall()
        other.cursor().execute("SET app.who = %s", (mail,))
        other.cursor().execute(f"SELECT 1 /* {password} */ -- {card}")
        other.cursor().execute("SET app.what = hunter2")
        other.cursor().execute("SELECT set_config('app.who', %s, false)", (mail,))
        other.cursor().copy_from(io.StringIO(f"{password}\\t{mail}\\n"), "secrets")
        other.cursor().copy_expert(f"COPY (SELECT 1 WHERE '{card}' <> '') TO STDOUT", io.StringIO())
    for wrong in (
        f"SELECT '{password}' '{card}",
        f"SELECT a FROM secrets WHERE a = {password.replace('-', '_')}",
        f'SELECT "{mail}" FROM secrets',
        f"SELECT 'O'{password}'",
    ):
        try:
            cursor.execute(wrong)
        except psycopg2.Error:
            pass
    log_query(f"SELECT '{card}'", parameters=(password, mail), duration_seconds=0.1, database="other")
    return "ok"
"""
TABLES = """
CREATE TABLE jobs (id integer PRIMARY KEY, name text);
INSERT INTO jobs SELECT i, 'job ' || i FROM generate_series(1, 50) AS i;
CREATE TABLE secrets (a text, b text);
"""
LOGGED = """
SELECT endpoint, template, sum(n)::int, count(DISTINCT key_hash)::int, min(status), bool_or(logs.is_write)
FROM otel_ratelimit.query_logs AS logs JOIN otel_ratelimit.query_templates USING (template_hash)
GROUP BY endpoint, template ORDER BY endpoint, template
"""


@pytest.fixture
def rows():
    databases = {}

    def ask(url, statement):
        return databases.setdefault(url, Database(url)).rows(statement)

    yield ask
    for database in databases.values():
        database.close()


@pytest.fixture
def jobs(postgres, new_database, rows):
    """The application's own database."""
    url = new_database(postgres)
    rows(url, TABLES)
    return url


def execute(url, statement):
    """Execute a statement that cannot run in a transaction."""
    with closing(psycopg2.extensions.connection(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def environment(analytics, jobs, **more):
    return {"OTEL_RATELIMIT_DATABASE_URL": analytics, "APP_DATABASE": jobs, **more}


@pytest.mark.parametrize(
    "preload", [[], pytest.param(["--preload"], marks=pytest.mark.full)], ids=["plain", "preload"]
)
def test_every_query_is_there_with_its_route_and_counts_of_four_workers_are_exact(
    serve, rows, database, jobs, preload
):
    environ = environment(
        database, jobs, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.1"
    )
    server = serve(
        "--workers",
        "4",
        "--threads",
        "2",
        *preload,
        policy=POLICY.format(flush="1h"),
        app=APP,
        environ=environ,
    )
    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(lambda n: server.get(f"/job/{n % 20 + 1}")[0], range(400)))
        statuses += Counter(pool.map(lambda n: server.get(f"/rename/{n % 5 + 1}", "POST")[0], range(40)))
    server.stop()
    assert statuses == {200: 440}
    assert rows(database, LOGGED) == [
        ("/job/<int:job>", "select id, name from jobs where id = ?", 400, 20, "ok", False),
        ("/rename/<int:job>", "update jobs set name = ? where id = ?", 40, 5, "ok", True),
    ]
    totals = "SELECT template, sum(totals.n)::int FROM otel_ratelimit.query_totals AS totals"
    assert rows(
        database, f"{totals} JOIN otel_ratelimit.query_templates USING (template_hash) GROUP BY 1 ORDER BY 1"
    ) == [("select id, name from jobs where id = ?", 400), ("update jobs set name = ? where id = ?", 40)]
    assert rows(
        database, "SELECT table_name, op, sum(n)::int FROM otel_ratelimit.table_writes GROUP BY 1, 2"
    ) == [("jobs", "update", 40)]
    columns = "bool_and(rows = 1), bool_and(duration_us > 0), bool_and(trace_id ~ '^[0-9a-f]{32}$')"
    assert rows(database, f"SELECT {columns} FROM otel_ratelimit.query_logs") == [(True, True, True)]


@pytest.mark.full
def test_an_n_plus_one_is_named_on_the_span_in_the_metrics_and_in_the_database(
    serve, rows, database, jobs, telemetry
):
    server = serve(policy=POLICY.format(flush="1s"), app=APP, environ=environment(database, jobs))
    for _ in range(3):
        assert server.get("/list")[0] == 200
    server.wait_until(
        lambda: rows(database, "SELECT sum(requests) FROM otel_ratelimit.query_repeats")[0][0] == 3, "three"
    )
    found = "SELECT endpoint, template, sum(executions)::int, max(most), max(trace_id) FROM"
    [(endpoint, template, executions, most, trace_id)] = rows(
        database,
        f"{found} otel_ratelimit.query_repeats JOIN otel_ratelimit.query_templates USING (template_hash)"
        " GROUP BY 1, 2",
    )
    assert (endpoint, template, executions, most) == ("/list", "select name from jobs where id = ?", 30, 10)
    server.stop()
    spans = [span for span in telemetry.spans() if span.name == "GET /list"]
    assert len(spans) == 3
    assert {event for span in spans for event in span.events} == {names.N_PLUS_ONE}
    assert trace_id in {span.trace_id for span in spans}
    [repeats] = telemetry.points(names.QUERY_REPEATS)
    assert (repeats.attributes, repeats.value) == ({names.HTTP_ROUTE: "/list"}, 3)


def test_nothing_secret_is_stored_exported_or_logged(serve, rows, database, jobs, telemetry):
    environ = environment(database, jobs, LOG_EVERYTHING="1", OTEL_TRACES_SAMPLER="always_on")
    server = serve(policy=POLICY.format(flush="1s"), app=APP, environ=environ)
    for number in range(3):
        assert server.get(f"/login?n={number}", "POST")[0] == 200, server.log
    server.stop()
    assert rows(database, "SELECT count(*) > 30 FROM otel_ratelimit.query_logs") == [(True,)]
    schema = "relnamespace = 'otel_ratelimit'::regnamespace AND relkind IN ('r', 'v')"
    tables = rows(database, f"SELECT relname FROM pg_class WHERE {schema}")
    stored = "".join(
        str(rows(database, f'SELECT t::text FROM otel_ratelimit."{table}" AS t')) for (table,) in tables
    )
    assert "queries through psycopg2 are recorded, sampling 100 % of distinct queries" in server.log
    # OpenTelemetry's own instrumentation exports statements as the application wrote them, and their errors.
    statements = {"db.statement", "db.query.text"}
    exported = "".join(
        f"{span.name} {value} {span.events}"
        for span in telemetry.spans()
        for name, value in span.attributes.items()
        if name not in statements
    )
    exported += str(telemetry._numbers) + str(telemetry._histograms)
    assert names.QUERIES in exported
    for secret in ("hunter2", "ann0@example", "example.org", "4111-1111"):
        assert secret not in stored
        assert secret not in exported
        assert secret not in server.log


@pytest.mark.full
def test_while_the_database_is_away_nothing_fails_and_afterwards_totals_are_exact(
    serve, rows, own_postgres, jobs
):
    upgrade(own_postgres.url())
    environ = environment(own_postgres.url(), jobs)
    server = serve("--threads", "4", policy=POLICY.format(flush="1s"), app=APP, environ=environ)
    statuses: Counter[int] = Counter()
    slowest = 0.0
    for step in (None, own_postgres.kill, own_postgres.start, own_postgres.pause, own_postgres.resume):
        if step is not None:
            step()
        for number in range(150):
            begun = time.monotonic()
            statuses[server.get(f"/job/{number % 20 + 1}")[0]] += 1
            slowest = max(slowest, time.monotonic() - begun)
    assert statuses == {200: 750}
    assert slowest < 5.0
    server.wait_until(
        lambda: rows(own_postgres.url(), "SELECT sum(n) FROM otel_ratelimit.query_logs")[0][0] == 750,
        "every execution in the log",
        60,
    )
    assert rows(
        own_postgres.url(), "SELECT sum(n)::int, sum(dropped)::int FROM otel_ratelimit.query_totals"
    ) == [(750, 0)]
    server.stop()


class Disk:
    """A file system of a few megabytes, which can be filled up."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self):
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        assert shutil.disk_usage(self.folder).free == 0

    def clear(self):
        self._filler.unlink()


@pytest.fixture
def small_disk(own_postgres):
    if os.geteuid() != 0 or sys.platform != "linux":
        raise MissingError("the right to mount a tmpfs", "run the tests as root on Linux")
    folder = own_postgres.folder / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=777", "tmpfs", folder]
    if subprocess.run(mount, check=False).returncode:
        raise MissingError("the right to mount a tmpfs", "run the tests where root has CAP_SYS_ADMIN")
    yield Disk(folder)
    own_postgres.stop()
    subprocess.run(["umount", folder], check=True)


def test_while_the_disk_of_the_database_is_full_nothing_fails_and_afterwards_totals_are_exact(
    serve, rows, own_postgres, jobs, small_disk
):
    tablespace = small_disk.folder / "tablespace"
    tablespace.mkdir()
    shutil.chown(tablespace, user=own_postgres.user)
    execute(own_postgres.url(), f"CREATE TABLESPACE small LOCATION '{tablespace}'")
    execute(own_postgres.url(), "CREATE DATABASE analytics TEMPLATE template0 TABLESPACE small")
    analytics = own_postgres.url("analytics")
    upgrade(analytics)
    server = serve(
        "--threads", "4", policy=POLICY.format(flush="1s"), app=APP, environ=environment(analytics, jobs)
    )

    statuses: Counter[int] = Counter()
    waits = []

    def ask(first):
        # Each question another one, so that each is a row.
        for number in range(first, first + 500):
            begun = time.monotonic()
            statuses[server.get(f"/job/{number}")[0]] += 1
            waits.append(time.monotonic() - begun)

    logged = "SELECT coalesce(sum(n), 0)::int FROM otel_ratelimit.query_logs"
    ask(0)
    server.wait_until(lambda: rows(analytics, logged) == [(500,)], "the first five hundred")
    small_disk.fill()
    ask(500)
    server.wait_until(lambda: "No space left on device" in server.log, "a word on the full disk")
    ask(1000)
    assert rows(analytics, logged) == [(500,)]
    small_disk.clear()
    server.wait_until(lambda: rows(analytics, logged) == [(1500,)], "every execution in the log", 60)
    assert statuses == {200: 1500}
    assert max(waits) < 5.0
    totals = "SELECT sum(n)::int, sum(dropped)::int FROM otel_ratelimit.query_totals"
    assert rows(analytics, totals) == [(1500, 0)]
    assert "query logs are written again; nothing was lost" in server.log


@pytest.mark.full
def test_a_killed_worker_loses_at_most_what_it_had_not_written(serve, rows, database, jobs):
    server = serve(policy=POLICY.format(flush="1s"), app=APP, environ=environment(database, jobs))
    for number in range(100):
        server.get(f"/job/{number % 20 + 1}")
    logged = "SELECT coalesce(sum(n), 0)::int FROM otel_ratelimit.query_logs"
    server.wait_until(lambda: rows(database, logged) == [(100,)], "the first hundred")
    [worker] = server.workers()
    os.kill(worker, signal.SIGKILL)
    server.wait_until(lambda: server.workers() not in ([], [worker]), "another worker")
    server.wait_until_ready()
    for number in range(50):
        server.get(f"/job/{number % 20 + 1}")
    server.wait_until(lambda: rows(database, logged) == [(150,)], "the next fifty")
