"""Milliseconds saved: what the analysis makes of the query log, and what a cache-aside loop takes less.

`loadtest/latency.py` does this with a shop and real queries. Here the server sleeps in each query and in each
call of the cache, so that what else a machine does is small against it; all is compared within one run.
"""

from __future__ import annotations

import importlib
import random
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from otel_ratelimit.core.cache_assumptions import Assumptions
from otel_ratelimit.queries.capture_psycopg2 import remove

LOADTEST = Path(__file__).parents[2] / "loadtest"
REPORT_SECONDS, PAGE_SECONDS = 0.05, 0.008
LOOKUP_SECONDS, STORE_SECONDS = 0.004, 0.008
READS = 200
EVERY_SECONDS = 0.04
TTL = 3
SHARE = 0.25
TABLES = (
    "CREATE TABLE jobs AS SELECT i AS id, 'job ' || i AS name FROM generate_series(1, 60) AS i",
    f"""CREATE FUNCTION report(job integer) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({REPORT_SECONDS}); RETURN 'report ' || job; END $$""",
    f"""CREATE FUNCTION page(job integer) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({PAGE_SECONDS}); RETURN 'page ' || job; END $$""",
)
REPORT = "SELECT name, report(id) FROM jobs WHERE id = %s"
PAGE = "SELECT name, page(id) FROM jobs WHERE id = %s"


@pytest.fixture
def latency():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(LOADTEST)
        yield importlib.import_module("latency")
    remove()


class FarAway:
    """An engine that takes its time."""

    def __init__(self, client):
        self._client = client

    def _after(self, seconds):
        pipeline = self._client.pipeline(transaction=False)
        return pipeline.execute_command("DEBUG", "SLEEP", str(seconds))

    def get(self, key):
        return self._after(LOOKUP_SECONDS).get(key).execute()[-1]

    def set(self, key, value, px):
        self._after(STORE_SECONDS).set(key, value, px=px).execute()


@pytest.fixture
def jobs(empty_database):
    with closing(psycopg2.connect(empty_database)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in TABLES:
            cursor.execute(statement)
    return empty_database


@pytest.fixture
def logs(postgres, migrated_template, new_database):
    return [new_database(postgres, migrated_template(postgres)) for _ in range(2)]


def reads(read):
    """Few reports, which repeat, and many pages, which hardly do."""
    draw = random.Random(1)
    questions = [
        (REPORT, draw.randint(1, 6)) if draw.random() < 0.4 else (PAGE, draw.randint(1, 60))
        for _ in range(READS)
    ]
    return [read(number * EVERY_SECONDS, *question) for number, question in enumerate(questions)]


@pytest.mark.full
@pytest.mark.untraced
@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_what_is_predicted_to_be_saved_is_what_a_cache_saves(latency, running_engine, jobs, logs, kind):
    capture = latency.capture_of_this_process()
    with (
        running_engine(kind, enable_debug_command="yes") as engine,
        engine.client() as client,
        closing(psycopg2.connect(jobs)) as connection,
        latency.query_log(capture, logs[0], 1.0) as log,
        latency.query_log(capture, logs[1], 1.0) as other_log,
    ):
        connection.autocommit = True
        shop = latency.Shop(connection, capture)
        direct = latency.Direct(shop, log)
        aside = latency.CacheAside(shop, other_log, FarAway(client), TTL, "test:")
        start = time.time()
        trace = reads(latency.Read)
        latency.play([(trace, direct), (trace, aside)])
    period = latency.since(start)
    took = aside.spent
    assumed = Assumptions(engine=kind, lookup_ms=took.lookup_ms, store_ms=took.store_ms)

    at = latency.predicted(logs[0], period, assumed, TTL)

    _, measured = latency.saved_ms(direct.spent, took)
    assert measured > 0.0
    assert at.hit_ratio == pytest.approx(took.hits / took.reads, abs=0.05)
    assert at.latency_saved_ms == pytest.approx(measured, rel=SHARE)
    # Each of these is so much of it that to forget it would be found.
    for forgotten in (replace(assumed, store_ms=0.0), replace(assumed, lookup_ms=0.0)):
        without = latency.predicted(logs[0], period, forgotten, TTL).latency_saved_ms
        assert without > (1.0 + SHARE) * measured
    by_mean = at.database_saved_ms - at.hits * 1_000.0 * direct.spent.database / direct.spent.reads
    assert by_mean > SHARE * measured
