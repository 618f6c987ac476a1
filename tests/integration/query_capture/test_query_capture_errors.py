"""Records of a query that fails, or whose text cannot be parsed with certainty."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest


def test_an_error_reaches_the_application_and_is_seen_with_its_sqlstate(connection, cursor, seen):
    with pytest.raises(psycopg2.errors.UndefinedTable):
        cursor.execute("SELECT * FROM nowhere WHERE id = %s", (7,))
    [execution] = seen.executions
    assert (execution.status, execution.rows, execution.sent) == (
        "42P01",
        None,
        b"SELECT * FROM nowhere WHERE id = 7",
    )
    seen.clear()
    connection.rollback()
    with pytest.raises(psycopg2.ProgrammingError):  # never sent
        cursor.execute("SELECT %s", (object(),))
    with pytest.raises(TypeError):
        cursor.execute("SELECT %s", 7)
    assert seen.executions == []


def test_of_a_statement_that_the_server_cannot_read_no_text_is_told(connection, cursor, seen):
    connection.autocommit = True
    for statement in (
        "SELECT name FROM jobs WHERE name = 'O'Brien sekrit'",
        'SELECT name FROM jobs WHERE name = "sekrit"',
        "SELECT name FROM jobs WHERE name = sekrit",
        "SELECT 123sekrit456",
        "SELECT :sekrit",
    ):
        with pytest.raises(psycopg2.ProgrammingError):
            cursor.execute(statement)
    assert seen.statements == ["<refused>"] * 5
    assert {execution.status[:2] for execution in seen.executions} == {"42"}


def test_where_strings_are_not_standard_no_text_with_a_backslash_is_told(cursor, seen):
    for _ in range(2):
        cursor.execute(r"SELECT 'C:\', 'sekrit'")
    cursor.execute("SET standard_conforming_strings = off")
    cursor.execute(r"SELECT 'it\'s sekrit'")
    assert cursor.fetchall() == [("it's sekrit",)]
    assert seen.statements[2:] == ["SET standard_conforming_strings = off", "<refused>"]
    assert "refused" not in "".join(seen.statements[:2])


def test_a_setting_that_the_statement_itself_changes_does_not_decide_how_it_is_read(connection, seen):
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET standard_conforming_strings = off")
    seen.clear()
    # The server has read all of it before the first part runs.
    cursor.execute(r"SET standard_conforming_strings = on; SELECT 'a\'; SELECT sekrit --'")
    assert seen.statements == ["<refused>"]
    cursor.execute("SELECT 1")
    before = seen.executions[-1].context
    cursor.execute("SET standard_conforming_strings = off")
    cursor.execute(r"SET search_path = 'it\'s'; SELECT 2")
    cursor.execute("SELECT 1")
    assert seen.executions[-1].context != before


def test_a_text_of_thousands_of_statements_is_reported_once(cursor, seen):
    cursor.execute(";".join(f"SET app.n{number} = {number}" for number in range(5_000)))
    assert seen.statements == ["<refused>"]
    cursor.execute(";".join(["SELECT 1"] * 1_000))
    assert seen.statements[1:] == ["SELECT 1"] * 1_000


def test_a_table_made_by_a_select_is_a_write_of_the_transaction(cursor, seen):
    cursor.execute("SELECT 1")
    cursor.execute("SELECT id INTO made FROM jobs")
    cursor.execute("SELECT id FROM made")
    assert [execution.in_txn for execution in seen.executions] == [False, False, True]


@pytest.mark.parametrize(
    ("prepare_by", "statement"),
    [
        ("SET LOCAL lock_timeout = '50ms'", "SELECT id FROM locked WHERE id::text = sekrit"),
        ("SET LOCAL statement_timeout = '50ms'", "SELECT id FROM locked WHERE id::text = sekrit"),
        ("SET TRANSACTION READ ONLY", "CREATE VIEW v AS SELECT sekrit"),
        ("CREATE DOMAIN positive AS int CHECK (value > 0)", "SELECT '{-1}'::positive[], sekrit"),
        ("SELECT 1", "SELECT 'a'::int, sekrit"),
        ("SELECT 1", "INSERT INTO jobs VALUES (1, 'a'); SELECT sekrit"),
    ],
)
def test_of_a_statement_whose_names_were_not_looked_up_no_text_is_told(
    connection, cursor, seen, empty_database, prepare_by, statement
):
    cursor.execute("CREATE TABLE locked (id int)")
    connection.commit()
    with closing(psycopg2.connect(empty_database)) as other, other.cursor() as theirs:
        theirs.execute("LOCK TABLE locked")
        cursor.execute(prepare_by)
        with pytest.raises(psycopg2.Error):
            cursor.execute(statement)
    assert "sekrit" not in str(seen.statements)
    assert seen.statements[-1] == "<refused>"
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        cursor.execute("SELECT id FROM jobs WHERE name = sekrit")
    assert seen.statements[-1] == "<refused>"


def test_a_fault_of_the_observer_reaches_nobody_and_is_logged_once(cursor, seen, caplog):
    def broken(*_):
        raise ZeroDivisionError

    seen.executed = broken
    for _ in range(3):
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    assert len([record for record in caplog.records if "could not be recorded" in record.message]) == 1
