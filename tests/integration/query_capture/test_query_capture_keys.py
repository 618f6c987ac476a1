"""Which executions of psycopg2 have the same key: text, settings, database, role, server."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest
from psycopg2 import sql


@pytest.mark.parametrize(
    "query",
    [
        "SELECT name FROM jobs WHERE id = 7",
        b"SELECT name FROM jobs WHERE id = 7",
        sql.SQL("SELECT name FROM jobs WHERE id = {}").format(sql.Literal(7)),
        sql.SQL("SELECT name FROM jobs WHERE id = 7"),
        sql.SQL("SELECT {} FROM {} WHERE id = %s"),
    ],
    ids=["str", "bytes", "Composed", "SQL", "Composed with parameters"],
)
def test_statements_of_every_type_that_send_the_same_have_the_same_key(cursor, seen, query):
    cursor.execute("SELECT name FROM jobs WHERE id = %s", (7,))
    if isinstance(query, sql.SQL) and "{}" in query.string:
        names = sql.SQL("name"), sql.SQL("jobs")
        cursor.execute(query.format(*names), (7,))
    else:
        cursor.execute(query)
    assert len(set(seen.keys)) == 1
    assert seen.sent == ["SELECT name FROM jobs WHERE id = 7"] * 2


def test_comments_make_no_difference_to_the_key_and_what_looks_like_one_does(cursor, seen):
    for query in (
        "SELECT name FROM jobs WHERE id = 7",
        "SELECT name FROM jobs WHERE id = 7 /*traceparent='00-aa-bb-01'*/",
        "SELECT name FROM jobs WHERE id = 7 /*traceparent='00-cc-dd-01'*/",
        "/* list */ SELECT name FROM jobs WHERE id = 7",
    ):
        cursor.execute(query)
    keys = seen.keys
    assert keys[0] == keys[1] == keys[2]
    seen.clear()
    cursor.execute("SELECT '/*a*/'")
    cursor.execute("SELECT '/*b*/'")
    cursor.execute("SELECT '--a'")
    assert len(set(seen.keys)) == 3


def test_several_statements_in_one_text_are_seen_one_by_one(cursor, seen):
    cursor.execute("SELECT 1; SELECT 'a;b'; SELECT 3;")
    assert seen.sent == ["SELECT 1", "SELECT 'a;b'", "SELECT 3"]
    assert [execution.rows for execution in seen.executions] == [None, None, 1]


def test_threads_are_seen_each_with_its_own(seen, empty_database):
    def work(number):
        with closing(psycopg2.connect(empty_database)) as opened, opened.cursor() as cursor:
            for i in range(50):
                cursor.execute("SELECT %s", (number * 1000 + i,))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen.sent) == sorted(f"SELECT {n * 1000 + i}" for n in range(4) for i in range(50))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("SET search_path TO pg_catalog", False),
        ("SET ROLE pg_monitor", False),
        ("SET app.tenant = '2'", False),
        ("SELECT set_config('app.tenant', '2', false)", False),
        ("SET TIME ZONE 'Europe/Vienna'", False),
        ("SET statement_timeout = 1000", True),
        ("SET search_path TO pg_catalog; RESET search_path", True),
        ("SET app.tenant = '2'; DISCARD ALL", True),
        ("SELECT 1", True),
    ],
)
def test_what_is_set_on_a_connection_is_part_of_the_key(seen, empty_database, change, same):
    with closing(psycopg2.connect(empty_database)) as opened, opened.cursor() as cursor:
        opened.autocommit = True
        cursor.execute("SELECT 1 AS asked")
        for statement in change.split("; "):
            cursor.execute(statement)
        cursor.execute("SELECT 1 AS asked")
    assert (seen.keys[0] == seen.keys[-1]) is same


def test_what_is_set_for_a_transaction_ends_with_it_and_what_is_rolled_back_was_never_set(
    seen, empty_database
):
    def asked():
        cursor.execute("SELECT 1 AS asked")
        return seen.keys[-1]

    with closing(psycopg2.connect(empty_database)) as opened, opened.cursor() as cursor:
        plain = asked()
        cursor.execute("SET LOCAL app.tenant = '2'")
        assert asked() != plain
        opened.commit()
        assert asked() == plain
        cursor.execute("SELECT set_config('app.tenant', '2', true)")
        assert asked() != plain
        opened.rollback()
        assert asked() == plain
        cursor.execute("SET app.tenant = '2'")
        second = asked()
        opened.rollback()
        assert asked() == plain
        cursor.execute("SET app.tenant = '2'")
        opened.commit()
        assert asked() == second
        opened.commit()
        cursor.execute("BEGIN")
        cursor.execute("SET app.tenant = '3'")
        cursor.execute("ROLLBACK")
        assert asked() == second


def test_another_database_or_role_is_another_key(seen, postgres, new_database):
    urls = [new_database(postgres), new_database(postgres)]
    for url in (*urls, urls[0], f"{urls[0]}&options=-csearch_path%3Dpg_catalog"):
        with closing(psycopg2.connect(url)) as opened:
            opened.cursor().execute("SELECT 1")
    one, other, again, elsewhere = seen.keys
    assert one == again
    assert len({one, other, elsewhere}) == 3


def test_a_database_of_the_same_name_on_another_server_is_another_key(seen, postgres, debian_postgres):
    for server in (postgres, debian_postgres, postgres):
        with closing(psycopg2.connect(server.dsn())) as opened:
            opened.cursor().execute("SELECT 1")
    one, other, again = seen.keys
    assert one == again != other


def test_only_what_colours_a_result_counts_as_within_a_transaction(seen, connection, cursor):
    def last():
        cursor.execute("SELECT count(*) FROM jobs")
        return seen.executions[-1].in_txn

    assert [last(), last()] == [False, False], "reading alone, every statement has a snapshot of its own"
    cursor.execute("UPDATE jobs SET name = 'x' WHERE id = 1")
    assert last() is True, "it sees what nobody else does"
    connection.commit()
    assert last() is False
    cursor.execute("WITH gone AS (DELETE FROM jobs WHERE id = 2 RETURNING id) SELECT * FROM gone")
    assert last() is True
    connection.rollback()
    connection.set_session(isolation_level="REPEATABLE READ")
    assert [last(), last()] == [False, True], "from the second on the snapshot is old"
    connection.rollback()
    connection.set_session(isolation_level="DEFAULT")
    cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert last() is True
