"""N+1 is detected alike on the request's thread, by text, and in the background, by template."""

from __future__ import annotations

import pytest

from otel_ratelimit.queries.fingerprint import hash_query
from otel_ratelimit.queries.n_plus_one import can_be_n_plus_one, may_be_n_plus_one

COUNTED = [
    "SELECT x FROM a WHERE id = 1",
    "\n  (select 1)",
    "VALUES (1)",
    "TABLE a",
    "INSERT INTO a VALUES (1)",
    "UPDATE a SET x = 1",
    "delete\nFROM a",
    "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE",
    "CALL p(1)",
    "WITH t AS (SELECT 1) SELECT * FROM t",
]
NEVER_COUNTED = [
    "SAVEPOINT s",
    "RELEASE SAVEPOINT s",
    "SET search_path TO a",
    "BEGIN",
    "COMMIT",
    "SHOW all",
    "TRUNCATE a",
    "VALIDATE",
    "",
    "; SELECT 1",
]


@pytest.mark.parametrize("statement", COUNTED)
def test_questions_and_writes_count(statement):
    assert may_be_n_plus_one(statement)
    assert can_be_n_plus_one(hash_query(statement).operation)


@pytest.mark.parametrize("statement", NEVER_COUNTED)
def test_other_statements_never_count(statement):
    assert not may_be_n_plus_one(statement)
    assert not can_be_n_plus_one(hash_query(statement).operation)
