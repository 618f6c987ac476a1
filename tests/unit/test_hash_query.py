"""Statements share a template or do not; nothing raises; operation and tables are read correctly."""

from __future__ import annotations

import pytest
from psycopg2 import sql

from otel_ratelimit.queries.fingerprint import (
    MAX_TEMPLATE_CHARACTERS,
    TemplateCache,
    hash_query,
)

SAME = [
    # literals
    ("SELECT * FROM a WHERE x = 1", "SELECT * FROM a WHERE x = 2"),
    ("SELECT * FROM a WHERE x = 1", "SELECT * FROM a WHERE x = -1"),
    ("SELECT * FROM a WHERE x = 1", "SELECT * FROM a WHERE x = 1.5e-3"),
    ("SELECT * FROM a WHERE x = 1", "SELECT * FROM a WHERE x = .5"),
    ("SELECT * FROM a WHERE x = 1", "SELECT * FROM a WHERE x = 0xFF"),
    ("SELECT * FROM a WHERE x = 1", "SELECT * FROM a WHERE x = 'one'"),
    ("SELECT * FROM a WHERE x = 'it''s'", "SELECT * FROM a WHERE x = 'its'"),
    ("SELECT * FROM a WHERE x = E'it\\'s'", "SELECT * FROM a WHERE x = 'its'"),
    ("SELECT * FROM a WHERE x = U&'d\\0061t'", "SELECT * FROM a WHERE x = 'dat'"),
    ("SELECT * FROM a WHERE x = B'1001'", "SELECT * FROM a WHERE x = X'1FF'"),
    ("SELECT * FROM a WHERE x = $$it's$$", "SELECT * FROM a WHERE x = 'its'"),
    ("SELECT * FROM a WHERE x = $q$a $$ b$q$", "SELECT * FROM a WHERE x = ''"),
    ("SELECT 'one'\n'two'", "SELECT 'onetwo'"),
    ("SELECT * FROM a WHERE x = NULL", "SELECT * FROM a WHERE x = 1"),
    ("SELECT * FROM a WHERE x = TRUE", "SELECT * FROM a WHERE x = false"),
    ("SELECT date '2020-01-01'", "SELECT date '2021-01-01'"),
    # parameters
    ("SELECT * FROM a WHERE x = %s", "SELECT * FROM a WHERE x = 1"),
    ("SELECT * FROM a WHERE x = %(x)s", "SELECT * FROM a WHERE x = 'a'"),
    ("SELECT * FROM a WHERE x = $1", "SELECT * FROM a WHERE x = $27"),
    # lists and rows
    ("SELECT * FROM a WHERE x IN (1, 2, 3)", "SELECT * FROM a WHERE x IN (4)"),
    ("SELECT * FROM a WHERE x IN (%s,%s)", "SELECT * FROM a WHERE x in ( 'a' )"),
    ("SELECT * FROM a WHERE x NOT IN (1, -2)", "SELECT * FROM a WHERE x NOT IN (1)"),
    ("SELECT * FROM a WHERE x = ANY(ARRAY[1,2])", "SELECT * FROM a WHERE x = ANY(ARRAY[1,2,3])"),
    ("INSERT INTO a VALUES (1, 'x')", "INSERT INTO a VALUES (1, 'x'), (2, 'y')"),
    ("INSERT INTO a (x, y) VALUES (%s, now())", "INSERT INTO a (x, y) VALUES (1, now()), (2, now())"),
    ("INSERT INTO a VALUES (1), (2) RETURNING x", "INSERT INTO a VALUES (1) RETURNING x"),
    # spelling
    ("SELECT x FROM a", "select X from A"),
    ("SELECT x FROM a", "SELECT  x\n\tFROM a ;"),
    ("SELECT x,y FROM a", "SELECT x , y FROM a"),
    ("SELECT count(*) FROM a", "SELECT count ( * ) FROM a"),
    ("SELECT x::int FROM a", "SELECT x :: int FROM a"),
    ('SELECT "x" FROM "a"', "SELECT x FROM a"),
    ("SELECT x FROM a -- hint", "SELECT x FROM a"),
    ("SELECT x /* a /* nested */ one */ FROM a", "SELECT x FROM a"),
    ("SELECT x FROM a /*traceparent='00-1-2-01'*/", "SELECT x FROM a /*traceparent='00-3-4-01'*/"),
    ("SELECT x FROM a WHERE x>=1", "SELECT x FROM a WHERE x >= 1"),
    ("SELECT x FROM a WHERE x=-1", "SELECT x FROM a WHERE x = - 1"),
    ("SELECT x FROM a WHERE x % 2 = 0", "SELECT x FROM a WHERE x %% 2 = 0"),
    ("SELECT x FROM a WHERE NOT TRUE", "SELECT x FROM a WHERE NOT FALSE"),
    # rows of values of other types, as psycopg2 writes them
    (
        "INSERT INTO t VALUES (1, '2026-01-01'::date, ARRAY[1, 2], 'NaN'::float), (2, NULL, '{}', 1.5)",
        "INSERT INTO t VALUES (3, NULL, '{}'::text[], NULL)",
    ),
    ("SELECT x WHERE a IN ('a'::uuid, 'b'::uuid)", "SELECT x WHERE a IN ('c')"),
    ("SELECT x WHERE a = ANY(ARRAY['a'::uuid, 'b'::pg_catalog.uuid])", "SELECT x WHERE a = ANY(ARRAY['a'])"),
    ("SELECT x WHERE (a, b) IN ((1, 2), (3, 4))", "SELECT x WHERE (a, b) IN ((1, 2))"),
    ("INSERT INTO t VALUES ('1'::numeric(10, 2))", "INSERT INTO t VALUES ('1')"),
    # what is set
    ("SET app.tenant = sekrit", "SET app.tenant TO 'other'".replace(" TO ", " = ")),
    # numbers that stand for no column
    ("SELECT x FROM a ORDER BY (x, 4242)", "SELECT x FROM a ORDER BY (x, 4243)"),
    ("SELECT x FROM a ORDER BY 4242 IN (1)", "SELECT x FROM a ORDER BY 4243 IN (1)"),
    ("SELECT x FROM a ORDER BY 4242 BETWEEN 1 AND 2", "SELECT x FROM a ORDER BY 4243 BETWEEN 1 AND 2"),
    ("SELECT x FROM a ORDER BY 1 LIMIT 2", "SELECT x FROM a ORDER BY 1 LIMIT 3"),
    ("SELECT x FROM a ORDER BY x + 1", "SELECT x FROM a ORDER BY x + 2"),
    ("SELECT x FROM a ORDER BY 1 + x", "SELECT x FROM a ORDER BY 2 + x"),
    ("SELECT x FROM a ORDER BY f(1)", "SELECT x FROM a ORDER BY f(2)"),
    ("SELECT x FROM a GROUP BY 1 HAVING 1 > 2", "SELECT x FROM a GROUP BY 1 HAVING 3 > 4"),
    ("SELECT sum(x) OVER (ORDER BY 1) FROM a", "SELECT sum(x) OVER (ORDER BY 2) FROM a"),
]
DIFFERENT = [
    ("SELECT x FROM a", "SELECT y FROM a"),
    ("SELECT x FROM a", "SELECT x FROM b"),
    ("SELECT a, b FROM t", "SELECT b, a FROM t"),
    ("SELECT x FROM a ORDER BY x", "SELECT x FROM a ORDER BY x DESC"),
    ("SELECT x FROM a WHERE x = 1", "SELECT x FROM a WHERE x > 1"),
    ("SELECT x FROM a WHERE x = 1", "SELECT x FROM a WHERE x <> 1"),
    ("SELECT x FROM a WHERE x IS NULL", "SELECT x FROM a WHERE x = NULL"),
    ("SELECT x FROM a WHERE x IS NULL", "SELECT x FROM a WHERE x IS NOT NULL"),
    ("SELECT x FROM a WHERE x IS TRUE", "SELECT x FROM a WHERE x IS FALSE"),
    ("SELECT x FROM a", "SELECT x FROM s.a"),
    ("SELECT x FROM s.a", "SELECT x FROM t.a"),
    ('SELECT "X" FROM a', "SELECT x FROM a"),
    ('SELECT "user" FROM a', "SELECT user FROM a"),
    ("SELECT 'x'", "SELECT x"),
    ("SELECT x - 1", "SELECT x, -1"),
    ("SELECT x::int", "SELECT x::text"),
    ("SELECT x->'a' FROM t", "SELECT x->>'a' FROM t"),
    ("SELECT x FROM t WHERE y @> '{}'", "SELECT x FROM t WHERE y <@ '{}'"),
    ("SELECT x FROM t WHERE y ? 'a'", "SELECT x FROM t WHERE y ?| 'a'"),
    ("INSERT INTO a VALUES (1, 2)", "INSERT INTO a VALUES (1)"),
    ("INSERT INTO a (x) VALUES (1)", "INSERT INTO a (y) VALUES (1)"),
    ("SELECT f(1, 2)", "SELECT f(1)"),
    ("SELECT x FROM a LIMIT 1", "SELECT x FROM a OFFSET 1"),
    ("SELECT x FROM a FOR UPDATE", "SELECT x FROM a FOR SHARE"),
    ("SELECT x FROM a UNION SELECT x FROM b", "SELECT x FROM a UNION ALL SELECT x FROM b"),
    ("SELECT * FROM a JOIN b USING (x)", "SELECT * FROM a LEFT JOIN b USING (x)"),
    ("SELECT é FROM a", "SELECT É FROM a"),
    ("SELECT a$b FROM t", "SELECT a$c FROM t"),
    ("SELECT 1; SELECT 2", "SELECT 1"),
    ("SELECT a[1:2]", "SELECT a[1]"),
    # numbers that stand for a column
    ("SELECT x, y FROM a ORDER BY 1", "SELECT x, y FROM a ORDER BY 2"),
    ("SELECT x, y FROM a ORDER BY 1, 2;", "SELECT x, y FROM a ORDER BY 1, 3;"),
    ("SELECT x, y FROM a ORDER BY z, 1 DESC", "SELECT x, y FROM a ORDER BY z, 2 DESC"),
    ("SELECT x, y FROM a GROUP BY 1", "SELECT x, y FROM a GROUP BY 1, 2"),
    ("SELECT x, y FROM a GROUP BY ROLLUP (1, 2)", "SELECT x, y FROM a GROUP BY ROLLUP (2, 1)"),
    ("SELECT DISTINCT ON (1) x, y FROM a", "SELECT DISTINCT ON (2) x, y FROM a"),
    ("SELECT x FROM (SELECT x, y FROM a ORDER BY 1) q", "SELECT x FROM (SELECT x, y FROM a ORDER BY 2) q"),
    # a sign before anything but a number is an operator
    ("SELECT x FROM a WHERE x = %s", "SELECT x FROM a WHERE x = -%s"),
    ("SELECT x FROM a ORDER BY 1 DESC", "SELECT x FROM a ORDER BY 2 DESC"),
    ("SELECT 1::int", "SELECT 1::text"),
    ("SELECT x WHERE a IN (1, b)", "SELECT x WHERE a IN (1, 2)"),
    ("SET app.tenant = 1", "SET app.user = 1"),
    ("SELECT 1 -- a\r, 2", "SELECT 1 -- a\r, x"),
    ("SELECT 'NaN'::float8", "SELECT -'NaN'::float8"),
    ("SELECT f(1)", "SELECT f(+1)"),
    ("SELECT 1 AS true", "SELECT 1 AS false"),
    ("SELECT x::char", 'SELECT x::"char"'),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_these_are_one_template(one, other):
    assert hash_query(one) == hash_query(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_these_are_two_templates(one, other):
    assert hash_query(one).hash != hash_query(other).hash


def test_enough_pairs_were_labelled():
    assert len(SAME) + len(DIFFERENT) >= 60


READ = [
    ("SELECT x FROM Jobs j, s.owners AS o WHERE j.x = o.x", "select", ("jobs", "s.owners"), False, False),
    ("SELECT x FROM a LEFT JOIN b ON a.x = b.x, c", "select", ("a", "b", "c"), False, False),
    ("SELECT x FROM (SELECT x FROM inner_one) q", "select", ("inner_one",), False, False),
    ("SELECT x FROM (a JOIN b USING (x)) JOIN ONLY c ON true", "select", ("a", "b", "c"), False, False),
    ("SELECT x FROM generate_series(1, 2) g, a", "select", ("a",), False, False),
    (
        "WITH q AS (SELECT x FROM a), r (x) AS MATERIALIZED (TABLE b) SELECT x FROM q, r",
        "select",
        ("a", "b"),
        False,
        False,
    ),
    (
        "SELECT extract(year FROM d), trim(both FROM t), substring(t FROM 1) FROM a",
        "select",
        ("a",),
        False,
        False,
    ),
    ("SELECT x FROM a WHERE x IS DISTINCT FROM y", "select", ("a",), False, False),
    ('SELECT x FROM "Jobs", "plain"', "select", ('"Jobs"', "plain"), False, False),
    ("SELECT x FROM a WHERE EXISTS (SELECT FROM b)", "select", ("a", "b"), False, False),
    ("INSERT INTO a (x) SELECT x FROM b", "insert", ("a", "b"), True, False),
    ("INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = 2", "insert", ("a",), True, False),
    ("UPDATE ONLY a SET x = b.x FROM b WHERE a.y = b.y", "update", ("a", "b"), True, False),
    ("DELETE FROM a USING b, c WHERE a.x = b.x", "delete", ("a", "b", "c"), True, False),
    ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", "merge", ("a", "b"), True, False),
    ("TRUNCATE TABLE a, b RESTART IDENTITY", "truncate", ("a", "b"), True, False),
    ("CREATE TABLE IF NOT EXISTS a (x int)", "create", ("a",), True, False),
    ("WITH gone AS (DELETE FROM a RETURNING x) SELECT x FROM gone", "select", ("a",), True, False),
    ("WITH q AS (SELECT 1) INSERT INTO a SELECT * FROM q", "insert", ("a",), True, False),
    ("SELECT x INTO copied FROM a", "select", ("a", "copied"), True, False),
    ("SELECT x FROM a FOR NO KEY UPDATE OF a", "select", ("a",), True, False),
    ("SELECT x FROM a FOR SHARE SKIP LOCKED", "select", ("a",), True, False),
    ("SELECT nextval('s')", "select", (), True, False),
    ("SELECT pg_advisory_lock(1)", "select", (), True, False),
    ("SELECT now()", "select", (), False, True),
    ("SELECT x FROM a WHERE d > current_date", "select", ("a",), False, True),
    ("SELECT random() FROM a", "select", ("a",), False, True),
    ("SELECT current_user", "select", (), False, True),
    ("SELECT now FROM a", "select", ("a",), False, False),
    ("(SELECT x FROM a) UNION (SELECT x FROM b)", "select", ("a", "b"), False, False),
    ("VALUES (1), (2)", "values", (), False, False),
    ("TABLE a", "table", ("a",), False, False),
    ("BEGIN", "begin", (), False, False),
    ("SHOW search_path", "show", (), False, False),
    ("EXPLAIN SELECT x FROM a", "explain", ("a",), False, False),
    ("EXPLAIN ANALYZE DELETE FROM a", "explain", ("a",), True, False),
    ("ALTER TABLE ONLY a ADD COLUMN x int", "alter", ("a",), True, False),
    ("SELECT 1; DELETE FROM a", "select", ("a",), True, False),
    ("FETCH NEXT FROM c", "fetch", (), False, False),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY a.mv", "refresh", ("a.mv",), True, False),
    ("SELECT a AS user FROM b", "select", ("b",), False, False),
    ("COPY jobs (a, b) FROM STDIN WITH (FORMAT csv)", "copy", ("jobs",), True, False),
    ("COPY s.jobs TO '/tmp/jobs'", "copy", ("s.jobs",), False, False),
    ("COPY (SELECT a FROM b, c) TO STDOUT", "copy", ("b", "c"), False, False),
    ("COPY (DELETE FROM a RETURNING x) TO STDOUT", "copy", ("a",), True, False),
    ("", "other", (), True, False),
    ("?!", "other", (), True, False),
]


@pytest.mark.parametrize(("text", "operation", "tables", "is_write", "volatile"), READ)
def test_what_a_statement_does_is_read(text, operation, tables, is_write, volatile):
    found = hash_query(text)
    assert (found.operation, found.tables, found.is_write, found.volatile) == (
        operation,
        tables,
        is_write,
        volatile,
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("INSERT INTO a SELECT x FROM b JOIN c USING (x)", ("a",)),
        ("UPDATE a SET x = b.x FROM b", ("a",)),
        ("DELETE FROM a USING b WHERE a.x = b.x", ("a",)),
        ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", ("a",)),
        ("WITH gone AS (DELETE FROM a RETURNING x) INSERT INTO b SELECT x FROM gone, c", ("a", "b")),
        ("TRUNCATE a, ONLY b", ("a", "b")),
        ("COPY a FROM STDIN", ("a",)),
        ("REFRESH MATERIALIZED VIEW mv", ("mv",)),
        ("ALTER TABLE a ADD x int", ("a",)),
        ("SELECT x INTO c FROM a", ("c",)),
        ("SELECT x FROM a FOR UPDATE", ()),
    ],
)
def test_which_tables_are_written_is_read(text, written):
    assert tuple(table for table, _ in hash_query(text).written) == written


def test_how_a_table_is_written_is_read():
    text = "WITH a AS (DELETE FROM b RETURNING x), c AS (UPDATE d SET x = 1) INSERT INTO e SELECT x FROM a"
    assert dict(hash_query(text).written) == {"b": "delete", "d": "update", "e": "insert"}
    text = "WITH a AS (INSERT INTO b VALUES (1) RETURNING x) SELECT x FROM a"
    assert hash_query(text).written == (("b", "insert"),)
    assert hash_query("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE").written == (("a", "merge"),)
    assert hash_query("COPY a FROM STDIN").written == (("a", "copy"),)
    assert hash_query("DROP TABLE a").written == (("a", "drop"),)


WRITING = [
    "WITH a AS (WITH b AS (SELECT 1) DELETE FROM jobs WHERE id = 1 RETURNING id) SELECT * FROM a",
    "COPY (WITH a AS (SELECT 1) DELETE FROM jobs RETURNING id) TO STDOUT",
    "EXPLAIN ANALYSE DELETE FROM jobs",
    "EXPLAIN ANALYZE SELECT nextval('s')",
    "EXPLAIN (ANALYZE) CREATE TABLE x AS SELECT 1",
    "EXPLAIN ANALYZE EXECUTE p",
    "DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE",
    "SELECT \"nextval\"('s')",
    "SELECT pg_logical_emit_message(true, 'a', 'b')",
    "SELECT dblink('a', 'b')",
    "SELECT a INTO newt FROM jobs",
]
NOT_WRITING = [
    "EXPLAIN DELETE FROM jobs",
    "EXPLAIN (COSTS off) SELECT 1",
    "COPY jobs TO STDOUT",
    "SELECT nextval",
]
NO_TABLE_WRITTEN = [
    "PREPARE p AS SELECT id FROM jobs",
    "CREATE VIEW v AS SELECT id FROM jobs",
    "LOCK TABLE jobs",
    "COMMENT ON TABLE jobs IS 'x'",
    "EXPLAIN DELETE FROM jobs",
    "COPY jobs TO STDOUT",
]


def test_what_may_change_data_is_a_write_and_nothing_else():
    assert [text for text in WRITING if not hash_query(text).is_write] == []
    assert [text for text in NOT_WRITING if hash_query(text).is_write] == []


def test_a_table_that_is_only_named_is_not_written():
    assert [text for text in NO_TABLE_WRITTEN if hash_query(text).written] == []
    assert hash_query("CREATE TABLE copy AS SELECT * FROM jobs").written == (("copy", "create"),)


SECRET = "sekrit"
HIDING = [
    "SELECT E'a'\n'b\\' sekrit'",
    "SELECT E'a' -- c\n  'b\\' sekrit'",
    "SELECT $\N{KEY}$ sekrit $\N{KEY}$",
    "SELECT $\N{KEY}x$ sekrit $\N{KEY}x$",
    "SET my.v = sekrit",
    "SET SESSION my.v TO sekrit, sekrit",
    "SELECT U&'sekrit' UESCAPE '!'",
    "SELECT 'sekrit",
    "SELECT $a$ sekrit",
    "/* sekrit /* sekrit */ sekrit */ SELECT 1 -- sekrit",
]


@pytest.mark.parametrize("text", HIDING)
def test_no_literal_is_kept_however_it_is_written(text):
    for found in (hash_query(text), TemplateCache()(text)):
        assert SECRET not in found.text
        assert SECRET not in str(found.tables)


def test_bytes_and_what_psycopg2_composes_are_read_as_the_text_they_become():
    expected = hash_query("SELECT name FROM jobs WHERE id = 7")
    assert hash_query(b"SELECT name FROM jobs WHERE id = 7") == expected
    assert hash_query(memoryview(b"SELECT name FROM jobs WHERE id = 7")) == expected
    composed = sql.SQL("SELECT {} FROM {} WHERE {} = {}").format(
        sql.Identifier("name"), sql.Identifier("jobs"), sql.Identifier("id"), sql.Literal(7)
    )
    assert hash_query(composed) == expected
    assert hash_query(sql.SQL("SELECT name FROM jobs WHERE id = ") + sql.Placeholder("id")) == expected
    assert hash_query(b"\xff\xfe").text
    assert hash_query(None) == hash_query("None")
    assert hash_query(sql.Identifier("a", 'b"c')).text == 'a."b""c"'


def test_the_template_is_readable_and_its_hash_64_bits():
    found = hash_query("SELECT  Name FROM jobs WHERE id=%s AND state IN ('a','b') LIMIT 10")
    assert found.text == "select name from jobs where id = ? and state in (?) limit ?"
    assert -(2**63) <= found.hash < 2**63


def test_a_long_text_is_cut_and_its_hash_is_not():
    long, longer = "SELECT " + ", ".join(f"c{n}" for n in range(2200)), None
    longer = f"{long}, last"
    assert len(hash_query(long).text) == MAX_TEMPLATE_CHARACTERS
    assert hash_query(long).hash != hash_query(longer).hash
