"""N+1 in a streamed response, and in a view that waits: bursts count, polling does not."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg2
import pytest
from flask import Flask, stream_with_context

from otel_ratelimit import RateLimit
from otel_ratelimit.postgres import Database
from otel_ratelimit.queries.capture_psycopg2 import remove
from otel_ratelimit.queries.request_queries import PAUSE_SECONDS

NEWS = "SELECT %s::int AS news"


def pause():
    threading.Event().wait(PAUSE_SECONDS * 1.1)


def events(connection):
    """Server-sent events: a look each time, and a line in any case."""
    for number in range(6):
        with connection.cursor() as cursor:
            cursor.execute(NEWS, (number,))
            yield f"data: {cursor.fetchone()[0]}\n\n"
        pause()


def lines(connection):
    """A row of a list, and a query for each: N+1, one line after the other."""
    with connection.cursor() as cursor:
        for number in range(6):
            cursor.execute(NEWS, (number,))
            yield f"{cursor.fetchone()[0]}\n"


def waits_then_lines(connection):
    yield from events(connection)
    yield from lines(connection)


def streaming(app, stream, connection):
    return lambda: app.response_class(stream_with_context(stream(connection)))


@pytest.fixture
def shop(database):
    rate_limit = RateLimit(database_url=database, environ={})
    app = Flask("shop")
    rate_limit.init_app(app)
    with closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        for stream in (events, lines, waits_then_lines):
            app.add_url_rule(f"/{stream.__name__}", stream.__name__, streaming(app, stream, connection))

        @app.get("/long_polling")
        def long_polling():
            return "".join(events(connection))

        @app.get("/list")
        def whole_list():
            return "".join(lines(connection))

        yield app, rate_limit
    rate_limit.close()
    remove()


@pytest.mark.parametrize(
    ("path", "most"),
    [("/events", None), ("/long_polling", None), ("/lines", 6), ("/list", 6), ("/waits_then_lines", 6)],
)
def test_polling_is_no_pattern_and_a_burst_is_one(shop, database, path, most):
    app, rate_limit = shop
    with app.test_client() as client:
        response = client.get(path)
        assert response.status_code == 200
        assert response.get_data(as_text=True).count("\n") >= 6
    assert rate_limit.queries.log.flush()
    with closing(Database(database)) as opened:
        found = opened.rows("SELECT endpoint, requests::int, most::int FROM otel_ratelimit.query_repeats")
    assert found == ([(path, 1, most)] if most else [])
