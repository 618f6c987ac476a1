"""A connection of psycopg2 whose queries are captured."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest
from captured import Seen

from otel_ratelimit.queries.capture_psycopg2 import prepare, remove


@pytest.fixture
def seen():
    capture = prepare()
    capture.observer = Seen()
    yield capture.observer
    remove()


@pytest.fixture
def connection(seen, empty_database):
    with closing(psycopg2.connect(empty_database)) as opened:
        with opened, opened.cursor() as cursor:
            cursor.execute("CREATE TABLE jobs (id integer PRIMARY KEY, name text)")
            cursor.execute("INSERT INTO jobs SELECT i, 'job ' || i FROM generate_series(1, 100) AS i")
        seen.clear()
        yield opened


@pytest.fixture
def cursor(connection):
    with connection.cursor() as opened:
        yield opened
