"""Names generated for each run, and values of SET, are not part of a template."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg2 import sql

from otel_ratelimit.queries.fingerprint import TemplateCache, hash_query
from otel_ratelimit.queries.records import UNREADABLE

# Names in utility statements: PostgreSQL 17 and 18 leave them out as well.

NAMED = {
    "SAVEPOINT {}": "savepoint ?",
    "RELEASE {}": "release ?",
    "RELEASE SAVEPOINT {}": "release savepoint ?",
    "ROLLBACK TO {}": "rollback to ?",
    "ROLLBACK TO SAVEPOINT {}": "rollback to savepoint ?",
    "ROLLBACK WORK TO SAVEPOINT {}": "rollback work to savepoint ?",
    "ABORT TRANSACTION TO {}": "abort transaction to ?",
    "DECLARE {} CURSOR FOR SELECT a FROM t WHERE b = 1": "declare ? cursor for select a from t where b = ?",
    "DECLARE {} NO SCROLL CURSOR WITH HOLD FOR TABLE t": "declare ? no scroll cursor with hold for table t",
    "FETCH {}": "fetch ?",
    "FETCH 5 FROM {}": "fetch ? from ?",
    "FETCH FORWARD ALL IN {}": "fetch forward all in ?",
    "MOVE BACKWARD 10 FROM {}": "move backward ? from ?",
    "CLOSE {}": "close ?",
    "PREPARE {} (int) AS SELECT a FROM t WHERE b = $1": "prepare ? (int) as select a from t where b = ?",
    "EXECUTE {}": "execute ?",
    "EXECUTE {} (1, 'a')": "execute ? (?)",
    "EXPLAIN EXECUTE {} (1)": "explain execute ? (?)",
    "EXPLAIN (ANALYZE, COSTS off) EXECUTE {} (1)": "explain(analyze, costs off) execute ? (?)",
    "CREATE TABLE a AS EXECUTE {} (1)": "create table a as execute ? (?)",
    "EXECUTE {} (bare, 'a')": "execute ? (?)",
    "DEALLOCATE {}": "deallocate ?",
    "DEALLOCATE PREPARE {}": "deallocate prepare ?",
    "LISTEN {}": "listen ?",
    "UNLISTEN {}": "unlisten ?",
    "NOTIFY {}": "notify ?",
    "NOTIFY {}, 'payload'": "notify ?, ?",
    "UPDATE t SET a = 1 WHERE CURRENT OF {}": "update t set a = ? where current of ?",
    "CREATE TEMP TABLE {} (a int)": "create temp table ? (a int)",
    "CREATE TEMPORARY TABLE IF NOT EXISTS {} AS TABLE t": "create temporary table if not exists ? as table t",
    "CREATE LOCAL TEMP TABLE {} (LIKE t)": "create local temp table ? (like t)",
    "CREATE OR REPLACE TEMP VIEW {} AS SELECT 1": "create or replace temp view ? as select ?",
    "CREATE TEMP SEQUENCE {}": "create temp sequence ?",
    "SELECT a INTO TEMP {} FROM t": "select a into temp ? from t",
    "SELECT a INTO TEMPORARY TABLE {} FROM t": "select a into temporary table ? from t",
}
NAMES = ["s1", "sa_savepoint_17", '"Quoted; name"', "savepoint_of_ours", "é1", "a$b"]


@pytest.mark.parametrize(("statement", "template"), NAMED.items())
def test_names_in_utility_statements_are_left_out(statement, template):
    for name in NAMES:
        assert hash_query(statement.format(name)).text == template
        assert hash_query(f"{statement.format(name)};").text == template
        assert (
            hash_query(f"SELECT 1; {statement.format(name)}; SELECT 2").text
            == f"select ?; {template}; select ?"
        )
    assert hash_query(template).text == template


KEPT = [
    "CLOSE ALL",
    "DEALLOCATE ALL",
    "DEALLOCATE PREPARE ALL",
    "UNLISTEN *",
    "ROLLBACK",
    "COMMIT",
    "DISCARD ALL",
]
KEPT += ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET CONSTRAINTS ALL DEFERRED", "RESET search_path"]
KEPT += [
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET LOCAL search_path FROM CURRENT",
    "TABLE fetch",
]
KEPT += ["ROLLBACK AND CHAIN", "SELECT savepoint FROM execute", "UPDATE t SET temp = temporary", "SET"]


@pytest.mark.parametrize("statement", KEPT)
def test_words_that_name_nothing_are_kept(statement):
    assert hash_query(statement).text == statement.lower()


def test_prepared_transactions_are_one_template():
    for verb in ("PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED"):
        assert hash_query(f"{verb} 'gid-1'").text == f"{verb.lower()} ?"


def test_fifty_savepoints_are_three_templates():
    texts = [
        text.format(f"sa_savepoint_{number}")
        for number in range(50)
        for text in ("SAVEPOINT {}", "RELEASE SAVEPOINT {}", "ROLLBACK TO SAVEPOINT {}")
    ]
    assert len({hash_query(text).hash for text in texts}) == 3


# Names that were generated, wherever they stand.

GENERATED = [
    ("tmp_1", "tmp_29"),
    ("temp_table_12", "temp_table_7"),
    ('"tmp_Ab1"', '"tmp_Ab2"'),
    ("staging_20261129", "staging_20261130"),
    ("import_3f2a9c01", "import_77ab01fe"),
    ('"550e8400-e29b-41d4-a716-446655440000"', '"650e8400-e29b-41d4-a716-446655440001"'),
    ("t_550e8400_e29b_41d4_a716_446655440000", "t_650e8400_e29b_41d4_a716_446655440001"),
]
USING = "SELECT {0}.a FROM {0} JOIN t ON t.id = {0}.id"
WHEREVER = (
    *("SELECT a FROM jobs j, {} t", "DROP TABLE a, {}", "TRUNCATE a, {}", "LOCK {}", "ANALYZE VERBOSE {}"),
    *("MERGE INTO a USING {} ON a.id = 1 WHEN MATCHED THEN DELETE", "DELETE FROM a USING {} WHERE a.id = 1"),
    *("SELECT 1 FROM ({} CROSS JOIN b)", "VACUUM (ANALYZE) {}", "SELECT a FROM pg_temp.{}", "CLUSTER {}"),
    *(
        "CREATE TABLE x (LIKE {})",
        "CREATE INDEX ON {} (a)",
        "ALTER TABLE {} RENAME TO x",
        "COPY {} FROM STDIN",
    ),
)
APART = [("t1", "t2"), ("utf8_a", "utf8_b"), ("logs_2025", "logs_2026"), ("temperature_1", "temperature_2")]
APART += [("int2tmp", "int4tmp"), ("h3_7", "h3_8"), ("facade", "decade"), ("decade2010", "decade2020")]


@pytest.mark.parametrize("text", WHEREVER)
def test_temporary_tables_are_one_wherever_they_are_named(text):
    assert hash_query(text.format("tmp_17")) == hash_query(text.format("tmp_18"))
    assert hash_query(text.format("tmp_17")) != hash_query(text.format("jobs"))


@pytest.mark.parametrize(("one", "other"), GENERATED)
def test_what_is_generated_in_a_name_makes_no_other_template(one, other):
    found = hash_query(USING.format(one))
    assert found == hash_query(USING.format(other))
    assert hash_query(found.text) == found
    assert hash_query(f"DROP TABLE {one}") == hash_query(f"DROP TABLE {other}")
    assert (
        hash_query(f"INSERT INTO {one} VALUES (1)").written
        == hash_query(f"INSERT INTO {other} VALUES (1)").written
    )


@pytest.mark.parametrize(("one", "other"), APART)
def test_tables_of_their_own_stay_apart(one, other):
    assert hash_query(USING.format(one)) != hash_query(USING.format(other))


def test_columns_that_look_temporary_stay_apart():
    for one, other in [
        ("temp_1", "temp_2"),
        ("decade2010", "decade2020"),
        ("metric_100001", "metric_100002"),
    ]:
        assert hash_query(f"SELECT {one} FROM t") != hash_query(f"SELECT {other} FROM t")


# Values of SET.

PLANTED = "plantedvalue"
SETTING = {
    "SET x = {}": "set x = ?",
    "SET x TO {}": "set x to ?",
    "SET x TO {0}, {0}": "set x to ?",
    "SET LOCAL my.x = {}": "set local my.x = ?",
    "SET SESSION my.x TO {}": "set session my.x to ?",
    "SET a.b.c.d.e.f = {}": "set a.b.c.d.e.f = ?",
    "SET a.b.c.d.e.f.g.h.i.j.k.l.m TO {}": "set a.b.c.d.e.f.g.h.i.j.k.l.m to ?",
    'SET "My.x" TO {}': 'set "My.x" to ?',
    "SET role TO {}": "set role to ?",
    "SET ROLE {}": "set role ?",
    "SET LOCAL ROLE {}": "set local role ?",
    "SET SESSION AUTHORIZATION {}": "set session authorization ?",
    "SET SESSION SESSION AUTHORIZATION {}": "set session session authorization ?",
    "SET LOCAL SESSION AUTHORIZATION {}": "set local session authorization ?",
    "SET TIME ZONE {}": "set time zone ?",
    "SET LOCAL TIME ZONE {}": "set local time zone ?",
    "SET NAMES {}": "set names ?",
    "SET SCHEMA {}": "set schema ?",
    "SET transaction.v = {}": "set transaction.v = ?",
    "SET LOCAL constraints.v TO {}": "set local constraints.v to ?",
    "SET characteristics.v = {}": "set characteristics.v = ?",
    "SET role.x = {}": "set role.x = ?",
    "SET session.x = {}": "set session.x = ?",
    "ALTER ROLE r SET ROLE {}": "alter role r set role ?",
    "ALTER ROLE r SET SESSION AUTHORIZATION {}": "alter role r set session authorization ?",
    "ALTER ROLE r SET x TO {}": "alter role r set x to ?",
    "ALTER ROLE ALL IN DATABASE d SET x = {}": "alter role all in database d set x = ?",
    "ALTER USER r SET a.b TO {0}, {0}": "alter user r set a.b to ?",
    "ALTER DATABASE d SET x TO {}": "alter database d set x to ?",
    "ALTER DATABASE d SET TIME ZONE {}": "alter database d set time zone ?",
    "ALTER SYSTEM SET x = {}": "alter system set x = ?",
    "ALTER FUNCTION f(int) SET x = {} IMMUTABLE": "alter function f(int) set x = ? immutable",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET x = {} AS 'SELECT 1'": (
        "create function f() returns int language sql set x = ? as ?"
    ),
    "CREATE FUNCTION f() RETURNS int SET x TO {0}, {0} SET a.b = {0} LANGUAGE sql AS $$ SELECT 1 $$": (
        "create function f() returns int set x to ? set a.b = ? language sql as ?"
    ),
    "CREATE OR REPLACE PROCEDURE p() SET x TO {} LANGUAGE sql AS $$ SELECT 1 $$": (
        "create or replace procedure p() set x to ? language sql as ?"
    ),
}
WRITTEN = [PLANTED, f"'{PLANTED}'", f'"{PLANTED}"', "-1.5", "on", "DEFAULT", f"E'\\'{PLANTED}'", "%s"]


@pytest.mark.parametrize(("statement", "template"), SETTING.items())
def test_what_is_set_is_left_out(statement, template):
    for value in WRITTEN:
        text = statement.format(value)
        assert hash_query(text).text == template
        # Among others, wherever it stands.
        assert hash_query(f"SELECT 1; {text}; SELECT 1/0").text == f"select ?; {template}; select ? / ?"
    assert hash_query(template).text == template


def test_what_an_update_sets_is_part_of_it():
    for text in (
        "update t set a = b, c = lower(d) where e = ?",
        "insert into t values (?) on conflict(a) do update set b = excluded.b",
        "merge into t using s on t.a = s.a when matched then update set b = s.b",
        "alter table t set (fillfactor = ?)",
        "alter table t alter column a set default now()",
        "alter table t alter a set not null",
        "alter table t set schema s",
    ):
        assert hash_query(text).text == text


WORDS = """
set local session role time zone to = , . x 'a' 1 ( ) ; - create alter function temp table into savepoint
release fetch declare cursor for select execute prepare explain analyze rollback to all current of as from "Q"
tmp_1 close authorization names if not exists a_123456 ?
"""
words = st.sampled_from(WORDS.split())


@given(st.lists(words, max_size=14).map(" ".join))
@example("set session")
@example("release savepoint")
@example("explain (")
@example("rollback to")
@example("fetch ;")
@example("set x from current")
@example("alter x set y =")
def test_a_template_of_any_such_words_is_its_own_template(text):
    found = hash_query(text)
    assert hash_query(found.text).text == found.text


@given(
    st.lists(st.sampled_from(string.ascii_lowercase), min_size=1, max_size=8).map("".join),
    st.integers(0, 10**9),
)
def test_savepoints_and_what_is_set_are_never_another_template(name, number):
    for text in (
        "SAVEPOINT s_{}_{}",
        "SET app.{}x = v{}",
        "FETCH {1} FROM c_{0}",
        "SET LOCAL app.user TO {}_{}",
    ):
        pair = [hash_query(text.format(*values)) for values in ((f"x{name}", number), ("xy", 1))]
        assert all(one.operation == other.operation for one, other in pairwise(pair))
        if "{}x" not in text:
            assert pair[0] == pair[1]


# Statements that are no text.


def test_what_is_composed_as_deep_as_anything_is_read():
    composed: sql.Composable = sql.SQL("SELECT 1")
    for _ in range(3_000):
        composed = sql.Composed([composed, sql.SQL(" + "), sql.Literal(PLANTED)])
    found = hash_query(composed)
    assert found.text.startswith("select ? + ? + ?")
    assert PLANTED not in found.text


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(PLANTED)


class NoText:
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307 - that is what is tested


class BrokenParts(sql.Composed):
    @property
    def seq(self):
        raise RuntimeError(PLANTED)


class OddText(str):  # noqa: SLOT000 - as applications write them
    def __len__(self) -> int:
        raise RuntimeError(PLANTED)

    def __getitem__(self, key: object) -> str:
        raise RuntimeError(PLANTED)

    def lower(self) -> str:
        raise RuntimeError(PLANTED)


def contains_itself() -> sql.Composed:
    composed = sql.Composed([sql.SQL("SELECT 1")])
    composed.seq.append(composed)
    return composed


def released() -> memoryview:
    view = memoryview(b"SELECT 1")
    view.release()
    return view


@pytest.mark.parametrize(
    "make",
    [
        Broken,
        NoText,
        lambda: BrokenParts([]),
        lambda: OddText(f"SELECT '{PLANTED}'"),
        contains_itself,
        released,
    ],
    ids=["raises", "is no text", "has no parts", "raises when it is read", "contains itself", "is released"],
)
def test_hash_query_raises_for_nothing(make):
    found = hash_query(make())
    assert found.text
    assert PLANTED not in found.text


def test_the_refused_are_one_template():
    assert TemplateCache()(UNREADABLE.text) is UNREADABLE
