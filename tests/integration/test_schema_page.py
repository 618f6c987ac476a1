"""docs/schema.md says what the database is."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from otel_ratelimit.postgres import Database
from otel_ratelimit.postgres.maintenance import maintain
from otel_ratelimit.postgres.migrate import upgrade
from otel_ratelimit.postgres.retention import RetentionRequest
from otel_ratelimit.postgres.schema_page import MAX_CHARACTERS, schema_page

PAGE = Path(__file__).parents[2] / "docs" / "schema.md"
REMEDY = "write it again: python -m otel_ratelimit.postgres.schema_page URL > docs/schema.md"


def test_the_page_is_what_the_database_is(database):
    assert schema_page(database) == PAGE.read_text(encoding="utf-8"), REMEDY


def test_the_page_is_the_same_from_another_version_of_postgresql(debian_postgres, new_database):
    url = new_database(debian_postgres)
    upgrade(url)
    assert schema_page(url) == PAGE.read_text(encoding="utf-8"), REMEDY


def test_the_page_does_not_change_from_day_to_day(database):
    with closing(Database(database)) as analytics:
        maintain(analytics, RetentionRequest(timedelta(days=30)), now=datetime.now(UTC))
    assert schema_page(database) == PAGE.read_text(encoding="utf-8")


def test_every_table_view_and_index_says_what_it_is_for(database):
    sections = schema_page(database).split("\n## ")[1:]
    for section in sections:
        name, _, what, *_ = section.splitlines()
        assert what, name
        assert not what.endswith(":"), f"{name} has no comment"
        for item in section.partition("\nIndexes:\n\n")[2].removeprefix("- ").split("\n- "):
            _, _, reason = item.partition("\n  ")
            assert reason or not item, f"{item} gives no reason"
    assert len(sections) == 16


def test_no_line_is_longer_than_it_may_be(database):
    assert max(map(len, schema_page(database).splitlines())) <= MAX_CHARACTERS


def test_it_is_printed_from_the_command_line(database):
    command = [sys.executable, "-m", "otel_ratelimit.postgres.schema_page"]
    printed = subprocess.run([*command, database], capture_output=True, text=True, check=True)
    assert printed.stdout == PAGE.read_text(encoding="utf-8")
    failed = subprocess.run(
        [*command, "postgresql://127.0.0.1:1/"], capture_output=True, text=True, check=False
    )
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: cannot connect")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
