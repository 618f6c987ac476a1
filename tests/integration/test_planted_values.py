"""Nothing of a value stays: statements with a planted word where values, comments and settings stand.

They run on a real server, in sessions of several encodings and settings, in all of psycopg2's ways, and many
fail. Afterwards the word is looked for in each table, log line, span attribute and metric of ours. The suite
runs a few hundred statements; PLANTED_EXAMPLES=10000 runs as many times ten.
"""

from __future__ import annotations

import io
import logging
import os
from contextlib import closing, suppress

import flask
import psycopg2
import psycopg2.extras
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg2 import sql

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy
from otel_ratelimit.postgres import Database
from otel_ratelimit.queries.capture_psycopg2 import remove
from otel_ratelimit.queries.records import UNREADABLE

POLICY = parse_policy('version = 1\n[tiers]\ndefault = "100/minute"\n', "test.toml")
PLANTED = "plantedvalue"
EXAMPLES = int(os.environ.get("PLANTED_EXAMPLES", "40"))
STATEMENTS = 10
"""In one example."""
BY_METHOD = "client_encoding by method: "
TABLES = """
CREATE TABLE jobs (id int PRIMARY KEY, name text);
CREATE TABLE notes (id int, body text);
"""

LITERALS = (
    "'{}'",
    "'a'' {}'",
    "'a; {}'",
    "'-- {}'",
    "'/* {}'",
    "'*/ {}'",
    "'\\' || '{}'",
    "'\\'';{} '",
    "'a' \n 'b {}'",
    "E'\\'{}'",
    "E'\\\\' || '{}'",
    "E'a' \n '\\'; {}'",
    "E'\\\\\\'; {}'",
    "e'é\\'; {}'",
    "E'表\\'; {}'",
    "'表\\' || '; {}'",
    "E'表' || '; {}'",
    "E'表' || E'表; {}'",
    "U&'{}\\0041'",
    "N'{}'",
    "$$ {} $$",
    "$a$ ; $$ {} $a$",
    "$é$ '; {} $é$",
    "'{}'::varchar(100)",
    "('{}')",
    "('a' || lower('B {}'))",
    "'%({})s'",
    "'%s {} %%'",
)
COMMENTS = (
    "/* {} */",
    "/* /* {} */ ' {} */",
    "-- {}\n",
    "-- ' {}\n",
    "/* don't {} */",
    "/*;{};*/",
    "/* $$ {} */",
)
STATEMENTS_WITH_A_VALUE = (
    "SELECT {}",
    "SELECT {} AS a, 1 AS b",
    "SELECT id FROM jobs WHERE name = {}",
    "SELECT id FROM jobs WHERE name IN ({}, 'b') AND id = 3 FOR UPDATE",
    "SELECT id FROM jobs WHERE name = ANY (ARRAY[{}])",
    "INSERT INTO notes VALUES (1, {})",
    "INSERT INTO notes VALUES (1, {}), (2, 'b') RETURNING id",
    "UPDATE notes SET body = {} WHERE id = 1",
    "DELETE FROM notes WHERE body = {}",
    "WITH a AS (SELECT {} AS b) SELECT b FROM a",
    "VALUES ({})",
    "SELECT set_config('my.v', {}, false)",
    "SELECT 1 / 0, {}",
    "SELECT ({})::int",
    "SELECT nothing, {}",
    "SELECT {} FROM nowhere",
    "EXPLAIN SELECT {}",
    "PREPARE p AS SELECT {}",
    "CREATE TEMP TABLE made AS SELECT {} AS a",
    "DECLARE c CURSOR FOR SELECT {}",
    "DO LANGUAGE plpgsql $body$ BEGIN PERFORM 1; RAISE EXCEPTION 'no {planted}'; END $body$",
)
PLAIN = (
    "SELECT 1",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SET my.v = {planted}",
    "SET my.v TO '{planted}', {planted}",
    "SET LOCAL a.b.c.d.e.f.g = {planted}",
    "SET SESSION my.v TO {planted}",
    "SET search_path TO {planted}, public",
    "SET ROLE {planted}",
    "SET TIME ZONE '{planted}'",
    "SET SESSION AUTHORIZATION {planted}",
    "SET application_name = {planted}",
    "ALTER ROLE CURRENT_USER SET my.v TO {planted}",
    "ALTER ROLE CURRENT_USER IN DATABASE postgres SET my.v = {planted}",
    "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET my.v = {planted} AS 'SELECT 1'",
    "ALTER FUNCTION pg_temp.f() SET my.w TO {planted}, {planted} IMMUTABLE",
    "COMMENT ON TABLE jobs IS '{planted}'",
    "NOTIFY channel, '{planted}'",
    "NOTIFY {planted}",
    "SAVEPOINT {planted}",
    "RELEASE SAVEPOINT {planted}",
    "ROLLBACK TO {planted}",
    "PREPARE {planted} AS SELECT 1",
    "EXECUTE {planted}",
    "DEALLOCATE {planted}",
    "CLOSE {planted}",
    "FETCH 1 FROM {planted}",
    "LISTEN {planted}",
    "PREPARE TRANSACTION '{planted}'",
    "CREATE TEMP TABLE {planted} (a int)",
    "SELECT {planted}",
    "SELECT '1'::int, {planted}",
    "SELECT 'x'::int, {planted}",
    "SELECT id FROM jobs WHERE name = {planted}",
    "SELECT id FROM jobs WHERE name = 'O'{planted}'",
    'SELECT id FROM jobs WHERE name = "{planted}"',
    "SELECT 1 {planted} 2",
    "INSERT INTO jobs VALUES (1, 'a'), (1, 'b'); SELECT {planted}",
    "SELECT 1; SET my.v = {planted}; SELECT 1 / 0",
    # Read in another way, strings and what is between them change places, and the comment hides that.
    *["SELECT 'a\\'', '{planted}' -- '", "SELECT 1; SELECT 'a\\'', '; {planted}' -- '"] * 3,
    *["SELECT E'表', '{planted}' -- '", "SELECT 1; SELECT E'表', '; {planted}' -- '"] * 3,
)
SESSIONS = (
    "SET standard_conforming_strings = off",
    "SET standard_conforming_strings = on",
    "SELECT set_config('standard_conforming_strings', 'off', false)",
    "SET client_encoding = 'UTF8'",
    "SET client_encoding = 'LATIN1'",
    "SET client_encoding = 'SJIS'",
    "SET client_encoding = 'GBK'",
    "SET client_encoding = 'BIG5'",
    "DISCARD ALL",
    f"{BY_METHOD}UTF8",
    f"{BY_METHOD}LATIN1",
    *[f"{BY_METHOD}SJIS"] * 6,
    f"{BY_METHOD}GBK",
    f"{BY_METHOD}BIG5",
)
FILLERS = st.sampled_from([0] * 12 + [20_000] * 3 + [200_000, 1_000_000])
planted_literals = st.sampled_from(LITERALS).map(lambda text: text.replace("{}", PLANTED))
fillers = FILLERS.flatmap(
    lambda size: st.sampled_from(
        [
            "",
            f" AND {size} IN ({', '.join(map(str, range(size // 6)))}, 1)",
            f" AND 'a' <> '{'x;' * (size // 2)}'",
            f" /* {'y ' * (size // 2)} */ AND true",
            f" AND E'\\'{'z' * size};' <> ''",
        ]
        if size
        else [""]
    )
)
comments = st.one_of(st.just(""), st.sampled_from(COMMENTS).map(lambda text: text.replace("{}", PLANTED)))


@st.composite
def statements(draw: st.DrawFn) -> str:
    """One, with the word in it or around it."""
    if draw(st.integers(0, 2)):
        text = draw(st.sampled_from(STATEMENTS_WITH_A_VALUE)).replace("{}", draw(planted_literals))
    else:
        text = draw(st.sampled_from(PLAIN))
    text = text.replace("{planted}", PLANTED)
    if " WHERE " in text and not text.endswith(("UPDATE", "'")):
        text += draw(fillers)
    return f"{draw(comments)}{text}{draw(comments)}"


texts = st.one_of(
    statements(),
    statements(),
    st.sampled_from(SESSIONS),
    st.lists(st.one_of(statements(), st.sampled_from(SESSIONS)), min_size=2, max_size=3).map(";".join),
)
WAYS = (*["text"] * 6, *["bytes"] * 3, "composed", "parameters", "many", "named", "copy", "values")


def run(connection: psycopg2.extensions.connection, text: str, way: str) -> None:
    """Run `text`, in one of psycopg2's ways."""
    if text.startswith(BY_METHOD):
        connection.set_client_encoding(text.removeprefix(BY_METHOD))
        return
    with connection.cursor("a name" if way == "named" else None) as cursor:
        if way == "bytes":
            cursor.execute(text.encode(psycopg2.extensions.encodings[connection.encoding], "replace"))
        elif way == "composed":
            cursor.execute(sql.SQL("{} {}").format(sql.SQL(text), sql.SQL("")))
        elif way == "parameters":
            cursor.execute(
                "SELECT %s, id FROM jobs WHERE name = %(a)s" if "%" not in text else text, {"a": text}
            )
        elif way == "many":
            cursor.executemany("UPDATE notes SET body = %s", [(text,), (f"\\'; {text}",)])
        elif way == "copy":
            cursor.copy_expert(f"COPY ({text}) TO STDOUT", io.StringIO())
        elif way == "values":
            psycopg2.extras.execute_values(cursor, "INSERT INTO notes VALUES %s", [(1, text), (2, "\\'; a")])
        else:
            cursor.execute(text)


class Recorded:
    """Our own tables, log, spans and metrics."""

    def __init__(self, rate_limit, database, reader, spans, caplog):
        self._rate_limit = rate_limit
        self._database = database
        self._reader = reader
        self._spans = spans
        self._caplog = caplog

    def flush(self) -> None:
        assert self._rate_limit.queries.log.flush()

    def tables(self) -> list[str]:
        found = self._database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'otel_ratelimit'")
        return [name for (name,) in found]

    def leaks(self) -> list[object]:
        """Rows, lines, attributes and points with the word in them."""
        found: list[object] = []
        for table in self.tables():
            rows = self._database.rows(
                f'SELECT t::text FROM otel_ratelimit."{table}" AS t WHERE t::text ILIKE %(word)s',
                {"word": f"%{PLANTED}%"},
            )
            found += [(table, row) for row in rows]
        # Those without the word need not be looked at again.
        self._database.rows("TRUNCATE otel_ratelimit.query_logs, otel_ratelimit.query_totals")
        found += [line for line in self._caplog.text.splitlines() if PLANTED in line.lower()]
        ours = [
            (name, value)
            for span in self._spans.get_finished_spans()
            for name, value in (span.attributes or {}).items()
            if name.startswith("otel_ratelimit") and PLANTED in str(value).lower()
        ]
        self._spans.clear()
        metrics = self._reader.get_metrics_data()
        if metrics is not None and PLANTED in metrics.to_json().lower():
            found.append(metrics.to_json())
        return found + ours

    def count(self) -> int:
        """Executions in the metrics."""
        metrics = self._reader.get_metrics_data()
        found = [
            point.value
            for resource in (metrics.resource_metrics if metrics else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "otel_ratelimit.queries"
            for point in metric.data.data_points
        ]
        return int(sum(found))

    def templates(self) -> set[str]:
        return {
            text for (text,) in self._database.rows("SELECT template FROM otel_ratelimit.query_templates")
        }


@pytest.fixture
def recorded(database, caplog):
    caplog.set_level(logging.DEBUG)
    reader, exporter, provider = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    rate_limit = RateLimit(
        flask.Flask(__name__),
        policy=POLICY,
        database_url=database,
        environ={},
        meter_provider=MeterProvider([reader]),
    )
    Psycopg2Instrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    with closing(Database(database)) as opened:
        yield Recorded(rate_limit, opened, reader, exporter, caplog)
    rate_limit.close()
    Psycopg2Instrumentor().uninstrument()
    remove()


@pytest.mark.untraced
@pytest.mark.timeout(0 if EXAMPLES > 1_000 else 120)
def test_nothing_of_a_planted_word_is_kept(recorded, empty_database):
    with closing(psycopg2.connect(empty_database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
    seen: set[str] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(st.tuples(texts, st.sampled_from(WAYS)), min_size=STATEMENTS, max_size=STATEMENTS),
        st.booleans(),
    )
    def plant(chosen, autocommit):
        with closing(psycopg2.connect(empty_database)) as connection:
            connection.autocommit = autocommit
            for number, (text, way) in enumerate(chosen):
                # Some in one transaction, which may have failed.
                if number % 3 == 0:
                    connection.rollback()
                with suppress(psycopg2.Error, UnicodeError, TypeError, ValueError, IndexError, KeyError):
                    run(connection, text, way)
                if connection.closed:
                    break
            event(f"closed: {connection.closed}")
        recorded.flush()
        assert recorded.leaks() == []
        seen.update(recorded.templates())

    plant()
    # Shown with --log-cli-level=info, for longer runs.
    logging.getLogger(__name__).info("%d executions, %d templates", recorded.count(), len(seen))
    assert recorded.count() > EXAMPLES * STATEMENTS / 4
    # It was not because nothing was recorded.
    assert len(seen - {UNREADABLE.text}) > 10, seen


def test_a_word_that_is_kept_would_be_found(recorded, empty_database):
    with closing(psycopg2.connect(empty_database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 AS {PLANTED}")
    recorded.flush()
    assert recorded.leaks() != []
