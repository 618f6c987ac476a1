"""The SQL that runbooks tell to run answers, and only reads."""

from __future__ import annotations

import re
import textwrap
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
QUERIES = {
    f"{path.stem} {number}": textwrap.dedent(body)
    for path in sorted(RUNBOOKS.glob("*.md"))
    for number, (_, body) in enumerate(
        re.findall(r"^( *)```sql\n(.*?)\n\1```$", path.read_text(), flags=re.MULTILINE | re.DOTALL), 1
    )
}


def test_there_is_sql_to_look_at():
    assert len(QUERIES) >= 8


@pytest.mark.parametrize("name", QUERIES)
def test_sql_of_a_runbook_answers_and_only_reads(database, name):
    with closing(psycopg2.connect(database)) as connection:
        connection.set_session(readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(QUERIES[name])
            assert cursor.description
            cursor.fetchall()
