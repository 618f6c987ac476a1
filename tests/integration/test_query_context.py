"""Equal contexts have equal answers: what is followed of a session, against what the server says of it."""

from __future__ import annotations

import contextlib
import random
from contextlib import closing
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2 import extensions
from variants import quick_first

from otel_ratelimit.queries.capture_psycopg2 import prepare, remove

ASKED = (
    "SELECT current_setting('search_path'), coalesce(current_setting('app.tenant', true), ''),"
    " current_setting('TimeZone'), current_user, session_user, current_setting('client_encoding')"
)
"""A setting that the server does not know is null before it was ever set, and empty after it was set back."""
STATEMENTS = [
    *("SET search_path TO a", "SET search_path = b", "SET LOCAL search_path TO a", "SET SCHEMA 'b'"),
    *("SET SESSION search_path = 'a'", "SET search_path TO DEFAULT", "RESET search_path", "RESET ALL"),
    *("SET app.tenant = '1'", "SET LOCAL app.tenant = '2'", "SET app.tenant TO DEFAULT"),
    *(
        "SET TIME ZONE 'Europe/Vienna'",
        "SET timezone TO 'UTC'",
        "RESET TIME ZONE",
        "SET LOCAL TIME ZONE LOCAL",
    ),
    *("SET ROLE pg_monitor", "SET ROLE NONE", "RESET ROLE", "SET LOCAL ROLE pg_read_all_data"),
    *("SET SESSION AUTHORIZATION pg_monitor", "RESET SESSION AUTHORIZATION"),
    *("SELECT set_config('app.tenant', '3', false)", "SELECT set_config('app.tenant', '4', true)"),
    *("SELECT set_config('app.tenant', '5, true', false), set_config('search_path', 'a', true)",),
    *("WITH x AS (SELECT set_config('app.tenant', '6', false)) SELECT * FROM x", "SELECT 'set_config'"),
    *("SELECT set_config('app.tenant', '7', false) WHERE false", "\n" + 20 * " " + "SET search_path TO b"),
    *("SAVEPOINT s", "SAVEPOINT t", "ROLLBACK TO s", "ROLLBACK WORK\nTO SAVEPOINT t", "RELEASE s"),
    *("BEGIN", "COMMIT", "ROLLBACK", "END", "COMMIT AND CHAIN", "SELECT 1 / 0", "SELECT 1"),
    *("DISCARD PLANS", "DISCARD TEMP", "DISCARD ALL", "SET statement_timeout = '1min'"),
]
CALLS = {
    "commit": lambda connection: connection.commit(),
    "rollback": lambda connection: connection.rollback(),
    "reset": lambda connection: connection.reset(),
    "isolation": lambda connection: connection.set_isolation_level(extensions.ISOLATION_LEVEL_DEFAULT),
    "latin": lambda connection: connection.set_client_encoding("LATIN1"),
}


class Told(NamedTuple):
    context: bytes
    in_txn: bool


class Last:
    """An observer that keeps the last execution."""

    told = None

    def executed(self, statement, sent, session, nanoseconds, in_txn, *_):
        self.told = Told(session.context, in_txn)


@pytest.fixture
def last():
    capture = prepare()
    capture.observer = Last()
    yield capture.observer
    remove()


@pytest.fixture
def url(postgres, empty_database):
    with closing(psycopg2.connect(empty_database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA a; CREATE SCHEMA b")
    return empty_database


@pytest.mark.untraced
@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("seed", quick_first(range(12), 3))
def test_equal_contexts_are_equal_sessions_whatever_was_run(last, url, autocommit, seed):
    draw = random.Random(seed)
    answers = {}
    for _ in range(25):
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = autocommit
            cursor = connection.cursor()
            history = []
            for _ in range(draw.randrange(1, 16)):
                step = draw.choice([*STATEMENTS, *CALLS])
                history.append(step)
                with contextlib.suppress(psycopg2.Error):
                    CALLS[step](connection) if step in CALLS else cursor.execute(step)
                with contextlib.suppress(psycopg2.errors.InFailedSqlTransaction):
                    cursor.execute(ASKED)
                    [answer] = cursor.fetchall()
                    first, before = answers.setdefault(last.told.context, (answer, tuple(history)))
                    assert first == answer, f"{before} and {history}"
    assert len(answers) > 15, "there was something to tell apart"


SAME = [
    ("SET search_path TO a", "SET search_path = a"),
    ("SET search_path TO a", "SET SESSION search_path TO 'a'"),
    ("SET app.tenant = 'x'", "SELECT set_config('app.tenant', 'x', false)"),
    ("SELECT 1", "SET search_path TO a; RESET search_path"),
    ("SELECT 1", "SET ROLE pg_monitor; SET ROLE NONE"),
    ("SELECT 1", "SET app.tenant = '2'; DISCARD ALL"),
    ("SELECT 1", "SELECT 'set_config'"),
    ("SELECT 1", "SET statement_timeout = 1000"),
]
DIFFERENT = [
    ("SELECT 1", "CREATE TEMP TABLE jobs (id int)"),
    ("CREATE TEMP TABLE jobs (id int)", "CREATE TEMP TABLE jobs (id int)"),
    ("SET app.tenant = 'a'", "SET app.tenant = 'A'"),
    ("SET ROLE pg_monitor", "SELECT 1"),
]


def context_after(last, url, statements):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements.split("; "):
            cursor.execute(statement)
        cursor.execute("SELECT 7")
        return last.told.context


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_the_same_are_one_context(last, url, one, other):
    assert context_after(last, url, one) == context_after(last, url, other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_has_two_contexts(last, url, one, other):
    assert context_after(last, url, one) != context_after(last, url, other)


def test_a_context_does_not_grow_with_what_is_set(last, url):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for number in range(300):
            cursor.execute("SELECT set_config('app.user' || %s, %s, false)", (str(number), "x" * 1000))
            cursor.execute(f"SET app.s{number} = '{'y' * 1000}'")
            cursor.execute("SELECT 1")
            assert len(last.told.context) < 400


def test_indentation_does_not_make_a_reading_a_writing(last, url):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        for _ in range(3):
            cursor.execute("\n" + 30 * " " + "SELECT 1")
            assert last.told.in_txn is False
