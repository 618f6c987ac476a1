"""No literal of a query leaves the collector, whatever its quoting; harmless text stays readable."""

from __future__ import annotations

import random

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SECRET = "opensesame"

READABLE = {
    "SELECT * FROM users WHERE email = 'x'": "SELECT * FROM users WHERE email = ?",
    "SELECT * FROM t WHERE a = %s AND b = %(name)s": "SELECT * FROM t WHERE a = %s AND b = %(name)s",
    "SELECT a FROM t1 WHERE b IN (1, 2,3) LIMIT 10": "SELECT a FROM t1 WHERE b IN (?, ...) LIMIT ?",
    "INSERT INTO t (a, b) VALUES ('it''s', -1.5e3)": "INSERT INTO t (a, b) VALUES (?, -?)",
    'SELECT "user"."id" FROM "user"': 'SELECT "user"."id" FROM "user"',
    "SELECT \"it's\" FROM t WHERE a = 'x'": 'SELECT "it\'s" FROM t WHERE a = ?',
    "UPDATE t SET a = $1\n   WHERE b->>'key' = $2": "UPDATE t SET a = ? WHERE b->>? = ?",
    "WITH x AS (SELECT 1) SELECT * FROM x": "WITH x AS (SELECT ?) SELECT * FROM x",
    'SELECT "it\'s", "that\'s" FROM t': 'SELECT "it\'s", "that\'s" FROM t',
    'SELECT "a--b", "c;d", "e""f" FROM t WHERE a = \'x\'': 'SELECT "a--b", "c;d", "e""f" FROM t WHERE a = ?',
    "SELECT 1 ;\n": "SELECT ? ; ",
}

UNSURE = {
    "a backslash that may or may not escape": rf"SELECT 'a\', '{SECRET}'",
    "an escape string": rf"SELECT E'it\'s {SECRET}'",
    "a dollar quote": f"SELECT $$it's {SECRET}$$, ''",
    "a dollar quote with a tag": f"SELECT $a${SECRET}$a$",
    "a comment with a quote": f"SELECT 1 -- don't\n, '{SECRET}', '",
    "a comment with the secret": f"SELECT 1 /* {SECRET} */",
    "a quote left open": f"SELECT 'a, {SECRET}",
    "a double quote left open": f"SELECT \"a, '{SECRET}', 'b, {SECRET}'",
    "no query": f"{SECRET}",
    "a bare word as value": f"SET app.token = {SECRET}",
    "a role": f"ALTER ROLE app PASSWORD {SECRET}",
    "a prepared statement": f"EXECUTE plan({SECRET})",
    "a bare word in a second statement": f"SELECT 1; SET app.token = {SECRET}",
    "a second statement without a space": f"SELECT ';';NOTIFY {SECRET}",
    "a comment that ends after identifiers with quotes": f'SELECT "it\'s" FROM t -- "that\'s" {SECRET}',
    "a literal between comments with quotes": f"SELECT \"x'y\" FROM t --\"\n WHERE a='{SECRET}' -- ''\"",
}

HIDDEN = {
    "a literal": f"SELECT * FROM t WHERE a = '{SECRET}'",
    "a literal with a doubled quote": f"SELECT * FROM t WHERE a = 'it''s {SECRET}'",
    "a literal after an identifier with a quote": f"SELECT \"it's\" FROM t WHERE a = '{SECRET}'",
    "a literal with a double quote": f"SELECT * FROM t WHERE a = '\"' AND b = '{SECRET}' AND c = '\"'",
    "a literal with a comment's beginning": f"SELECT * FROM t WHERE a = '--' AND b = '{SECRET}'",
    "a prefixed literal": f"SELECT * FROM t WHERE a = U&'{SECRET}' AND b = N'{SECRET}'",
    "a literal over lines": f"SELECT * FROM t WHERE a = 'x\n{SECRET}\n'",
    "an interval": f"SELECT interval '{SECRET}'",
    "a list": f"SELECT * FROM t WHERE a IN ('{SECRET}', '{SECRET}')",
    "a literal that follows another": f"SELECT 'a' '{SECRET}'",
}

NUMBERS = ("4111111111111111", "0xC0FFEE99", "31415926.5358", "2.7182e100", "1_234_567")


def _query(
    statement: str, key: str = "db.statement", *, failed: bool = False, system: str = "postgresql"
) -> Span:
    span = Span(
        trace_id=random.randbytes(16),
        span_id=random.randbytes(8),
        name=next(iter(statement.split()), ""),  # as the instrumentation for psycopg2 names it
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=1_700_000_000_000_000_000,
        end_time_unix_nano=1_700_000_000_001_000_000,
    )
    system_key = "db.system" if key == "db.statement" else "db.system.name"
    for name, value in ((system_key, system), (key, statement)):
        span.attributes.add(key=name).value.string_value = value
    if failed:
        span.status.code = Status.STATUS_CODE_ERROR
    return span


def _request(spans: list[Span]) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def _text(span: Span) -> str | None:
    return next((each.value.string_value for each in span.attributes if each.key == "db.query.text"), None)


@pytest.fixture
def through(start_collector, backend, wait_for):
    """`through(spans)`: the same, as they leave the collector."""
    collector = start_collector(traces=backend.endpoint, OTELCOL_SAMPLING_PERCENTAGE="100")

    def send(spans: list[Span]) -> list[Span]:
        assert collector.post("/v1/traces", _request(spans)) == 200
        wait_for(lambda: len(backend.spans()) >= len(spans))
        by_id = {span.span_id: span for span in backend.spans()}
        return [by_id[span.span_id] for span in spans]

    return send


@pytest.mark.parametrize("key", ["db.statement", "db.query.text"])
def test_the_text_of_a_query_stays_readable_without_its_literals(through, key):
    arrived = through([_query(statement, key) for statement in READABLE])

    assert [_text(span) for span in arrived] == list(READABLE.values())
    assert {span.name for span in arrived} == {"SELECT", "INSERT", "UPDATE", "WITH"}


def test_the_text_is_removed_where_its_literals_cannot_be_told_for_sure(through):
    arrived = through([_query(statement) for statement in UNSURE.values()])

    assert {why: _text(span) for why, span in zip(UNSURE, arrived, strict=True)} == dict.fromkeys(UNSURE)
    assert SECRET not in str(arrived)


@pytest.mark.parametrize("key", ["db.statement", "db.query.text"])
def test_no_quoting_lets_a_literal_through(through, key):
    arrived = through([_query(statement, key) for statement in HIDDEN.values()])

    assert all(_text(span) for span in arrived)
    assert SECRET not in str(arrived)


def test_no_number_stays(through):
    arrived = through([_query(f"SELECT * FROM t WHERE a = {number}") for number in NUMBERS])

    assert {_text(span) for span in arrived} == {"SELECT * FROM t WHERE a = ?"}


def test_the_text_of_a_query_that_failed_is_removed(through):
    [arrived] = through([_query(f"SELECT {SECRET} FROM t", failed=True)])

    assert _text(arrived) is None
    assert arrived.name == "SELECT"


def test_a_span_is_not_named_by_what_a_query_says(through):
    arrived = through([_query(statement) for statement in (SECRET, f"{SECRET} * FROM t", "")])

    assert {span.name for span in arrived} == {"query"}


def test_the_text_for_another_database_is_removed(through):
    """Their quoting has other rules: in MySQL's, double quotes hold literals."""
    [arrived] = through([_query(f'SELECT "{SECRET}"', system="mysql")])

    assert _text(arrived) is None


def test_statements_of_every_mixture_keep_no_literal(through):
    rng = random.Random(20)
    outside = (
        "SELECT a",
        " , b",
        " FROM t",
        ' "it\'s"',
        ' "a--b"',
        " - 1",
        " / 2",
        "::text",
        " -> ",
        "( ",
        " )",
    )
    inside = ("x", "''", '"', "--", "/*", "*/", "$$", "$1", "%s", "\n", ";", "(", " ")

    def statement() -> str:
        parts = ["SELECT a"]
        for _ in range(rng.randrange(1, 12)):
            if rng.random() < 0.5:
                parts.append(rng.choice(outside))
            else:
                literal = "".join(rng.choice(inside) for _ in range(rng.randrange(4)))
                rest = "".join(rng.choice(inside) for _ in range(rng.randrange(4)))
                parts.append(f" '{literal}{SECRET}{rest}'")
        return " ".join(parts)

    arrived = through([_query(statement()) for _ in range(3000)])

    assert SECRET not in str(arrived)
    assert sum(_text(span) is not None for span in arrived) > 1000
