"""Messages of libpq about a failed connection become one sentence that says what to do."""

from __future__ import annotations

import pytest

from otel_ratelimit.postgres.error_translation import connection_error

PLACE = {"host": "db.example", "port": "5999", "dbname": "shop", "user": "app"}
AT = 'connection to server at "{}", port 5999 failed: Connection refused'
QUESTION = "\n\tIs the server running on that host and accepting TCP/IP connections?\n"
SOCKET = 'connection to server on socket "/run/s.5432" failed: No such file or directory'
OLD = "could not connect to server: Connection refused"
SILENT = "nothing answers there: check host, port and firewall"
REMEDY = "check host and port, and that PostgreSQL runs there"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (AT.format("::1") + QUESTION, f"{AT.format('::1')}; {REMEDY}"),
        (
            AT.format("::1") + QUESTION + AT.format("127.0.0.1") + QUESTION,
            f"{AT.format('::1')}; {AT.format('127.0.0.1')}; {REMEDY}",
        ),
        (
            SOCKET + "\n\tIs the server running locally and accepting connections on that socket?\n",
            f"{SOCKET}; {REMEDY}",
        ),
        (
            f"{OLD}\n\tIs the server running on host db and accepting\n\tTCP/IP connections on port 5999?\n",
            f"{OLD}; {REMEDY}",
        ),
        ("FATAL:  sorry\nDETAIL:  too many clients\n", "FATAL: sorry; DETAIL: too many clients"),
        (
            "no answer within 3 s",
            "no answer within 3 s; nothing answers there: check host, port and firewall",
        ),
    ],
)
def test_the_lines_of_libpq_are_one_sentence_and_ask_nothing(reason, said):
    error = str(connection_error(PLACE, reason))
    assert error == f"cannot connect to database shop at db.example, port 5999, as user app: {said}"


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ('FATAL:  database "shop" does not exist\n', 'CREATE DATABASE "shop"'),
        ('FATAL:  role "app" does not exist\n', 'CREATE ROLE "app"'),
    ],
)
def test_what_has_to_be_made_first_is_named(reason, remedy):
    assert str(connection_error(PLACE, reason)).endswith(f"; create it first: {remedy}")
