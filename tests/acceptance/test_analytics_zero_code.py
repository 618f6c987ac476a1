"""Violations and usage in a real PostgreSQL, written by gunicorn's workers, whatever goes wrong."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_ratelimit.core import names
from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.migrate import upgrade

POLICY = """
version = 1
[tiers]
default = "5/minute; 9/hour"
[analytics]
flush_interval = "1s"
"""
KEPT = "analytics cannot be written and are kept in memory"
SLOW_FLUSH = POLICY.replace("1s", "1h").replace("[analytics]", "[analytics]\nbatch_size = 1000")


@pytest.fixture
def rows():
    databases = {}

    def ask(url, statement):
        return databases.setdefault(url, Database(url)).rows(statement)

    yield ask
    for database in databases.values():
        database.close()


def violations(rows, url):
    [(total, count)] = rows(
        url, "SELECT coalesce(sum(n), 0)::int, count(*) FROM otel_ratelimit.rate_limit_analytics"
    )
    return total, count


def requests_by_decision(rows, url):
    return dict(
        rows(
            url,
            "SELECT decision, sum(requests)::int FROM otel_ratelimit.rate_limit_usage"
            " WHERE endpoint = '/thing' GROUP BY decision",
        )
    )


def hammer(server, stop, statuses):
    """Requests one after the other until `stop`; what was answered, and how long the longest took."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    longest = 0.0
    while not stop.is_set():
        begun = time.monotonic()
        connection.request("GET", "/thing")
        response = connection.getresponse()
        response.read()
        longest = max(longest, time.monotonic() - begun)
        statuses[response.status] += 1
    connection.close()
    return longest


@pytest.mark.parametrize(
    "preload", [[], pytest.param(["--preload"], marks=pytest.mark.full)], ids=["plain", "preload"]
)
def test_when_the_server_has_stopped_every_refusal_and_every_request_is_in_the_database(
    serve, rows, database, preload
):
    environ = {"OTEL_RATELIMIT_DATABASE_URL": database}
    server = serve("--workers", "4", "--threads", "2", *preload, policy=SLOW_FLUSH, environ=environ)
    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(lambda _: server.get("/thing")[0], range(300)))
    assert violations(rows, database) == (0, 0), "all of it is written at the end"
    server.stop()
    assert violations(rows, database)[0] == statuses[429]
    assert requests_by_decision(rows, database) == {"allowed": statuses[200], "blocked": statuses[429]}
    assert "Traceback" not in server.log


def test_a_row_says_who_was_limited_where_by_what_and_in_which_trace(serve, rows, database, telemetry):
    server = serve("--threads", "2", policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": database})
    for _ in range(7):
        server.get("/thing")
    server.wait_until(lambda: violations(rows, database)[0] == 2, "two violations in the database")
    [row] = rows(
        database,
        "SELECT service, endpoint, method, client, user_id, tier, limit_text, limit_value, limit_seconds,"
        " current_count, shadow, sum(n)::int, bool_and(occurred_at <= last_at),"
        " bool_and(last_at > now() - interval '1 minute'), max(trace_id)"
        " FROM otel_ratelimit.rate_limit_analytics GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
    )
    assert row[:-1] == (
        "acceptance",
        "/thing",
        "GET",
        "127.0.0.1",
        None,
        "default",
        "5 per 1 minute",
        5,
        60,
        5,
        False,
        2,
        True,
        True,
    )
    server.stop()
    traces = {s.trace_id for s in telemetry.spans() if s.attributes.get(names.DECISION) == "blocked"}
    assert row[-1] in traces
    recorded = sum(point.value for point in telemetry.points(names.VIOLATIONS_RECORDED))
    assert recorded == 2
    assert not [s for s in telemetry.spans() if "otel_ratelimit." in s.name or s.name.startswith("INSERT")]


@pytest.mark.full
def test_a_restart_keeps_what_was_recorded(serve, rows, database):
    for run in (1, 2):
        server = serve(policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": database})
        for _ in range(7):
            server.get("/thing")
        server.stop()
        assert violations(rows, database)[0] == 2 * run


@pytest.mark.full
def test_postgres_killed_under_load_fails_no_request_and_loses_no_total(serve, rows, own_postgres):
    upgrade(own_postgres.url())
    url = own_postgres.url()
    server = serve(
        "--workers", "2", "--threads", "4", policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": url}
    )
    stop, statuses = threading.Event(), Counter()
    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(hammer, server, stop, statuses) for _ in range(4)]
        try:
            server.wait_until(lambda: violations(rows, url)[0] > 0, "the first violations")
            own_postgres.kill()
            away = sum(statuses.values()) + 300
            server.wait_until(lambda: sum(statuses.values()) > away, "300 requests without a database")
            # So many may be answered before anything has to be written.
            server.wait_until(lambda: KEPT in server.log, "a write that fails")
            own_postgres.start()
            written = violations(rows, url)[0]
            server.wait_until(lambda: violations(rows, url)[0] > written, "writing again", seconds=60)
        finally:
            stop.set()
        longest = max(client.result() for client in clients)
    server.stop()
    assert set(statuses) <= {200, 429}
    assert longest < 5.0
    assert violations(rows, url)[0] == statuses[429]
    assert requests_by_decision(rows, url) == {"allowed": statuses[200], "blocked": statuses[429]}
    assert "analytics are written again" in server.log
    assert "Traceback" not in server.log


@pytest.mark.full
def test_a_silent_postgres_holds_up_no_request_and_no_stop(serve, rows, own_postgres):
    upgrade(own_postgres.url())
    server = serve(
        "--threads", "4", policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": own_postgres.url()}
    )
    server.get("/thing")
    server.wait_until(lambda: requests_by_decision(rows, own_postgres.url()), "the first row")
    own_postgres.pause()
    statuses = Counter(server.get("/thing")[0] for _ in range(100))
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 20
    assert statuses == {200: 4, 429: 96}
    # Those of the batch that was under way may have arrived, and the log says so.
    assert "it is not known whether" in server.log
    assert sum(map(int, re.findall(r"(\d+) violations and the usage of", server.log))) == 96


@pytest.mark.full
def test_a_worker_killed_loses_at_most_what_it_had_not_written(serve, rows, database):
    server = serve(
        "--workers", "1", "--threads", "2", policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": database}
    )
    for _ in range(25):
        server.get("/thing")
    server.wait_until(lambda: violations(rows, database)[0] == 20, "twenty violations")
    for _ in range(3):
        server.get("/thing")
    [worker] = server.workers()
    os.kill(worker, signal.SIGKILL)
    server.wait_until(lambda: server.workers() not in ([worker], []), "another worker")
    server.wait_until_ready()
    statuses = Counter(server.get("/thing")[0] for _ in range(7))
    server.stop()
    assert statuses == {200: 5, 429: 2}
    assert 22 <= violations(rows, database)[0] <= 25


@pytest.mark.full
def test_an_http_flood_makes_few_rows_and_exact_totals(serve, rows, database):
    server = serve(
        "--workers", "2", "--threads", "4", policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": database}
    )
    stop, statuses = threading.Event(), Counter()
    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(hammer, server, stop, statuses) for _ in range(4)]
        stop.wait(4.0)  # how long the flood lasts
        stop.set()
        for client in clients:
            client.result()
    server.stop()
    total, count = violations(rows, database)
    assert total == statuses[429] > 500
    # Per process, limit and second one row, one more for the first of a minute, and one at the end.
    assert count <= 2 * 2 * 10


@pytest.mark.full
def test_without_tables_requests_go_on_and_the_log_says_what_makes_them(serve, rows, empty_database):
    server = serve(policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": empty_database})
    assert [server.get("/thing")[0] for _ in range(7)] == [200] * 5 + [429] * 2
    server.wait_until(lambda: "otel-ratelimit db upgrade" in server.log, "a hint")
    upgrade(empty_database)
    server.wait_until(lambda: violations(rows, empty_database)[0] == 2, "the violations from before")
    server.stop()
    assert server.log.count("otel-ratelimit db upgrade") <= 3


def test_a_database_url_that_makes_no_sense_is_said_and_stops_nothing(serve):
    server = serve(
        policy=POLICY, environ={"OTEL_RATELIMIT_DATABASE_URL": "mysql://root:secret-word@localhost/app"}
    )
    assert server.get("/thing")[0] == 200
    server.stop()
    assert "analytics are off: OTEL_RATELIMIT_DATABASE_URL" in server.log
    assert "secret-word" not in server.log
