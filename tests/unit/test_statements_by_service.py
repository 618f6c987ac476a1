"""Every statement that reads what is recorded by service says of which services it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READS = re.compile(
    r"\b(?:FROM|JOIN) (?:\{table\}|otel_ratelimit\."
    r"(?:rate_limit_(?:analytics|usage)|query_(?:logs|totals|repeats)(?:_\w+)?|table_writes)\b)"
)
WRITES = re.compile(r"\b(?:DELETE|INSERT|UPDATE)\b")
OF_ALL = {
    "cache_reports.sql recording_began": "since when anything was recorded in this database",
    "old_rows.sql oldest_by_service_index": "whether anything at all is overdue: before any is deleted",
    "old_rows.sql count_of_all": "of templates, which services share",
    "plugin_health.sql written_last": "how old the last row of each table is, for all services",
    "overview.sql clients_refused": "of the Jobs chosen: who is refused by two of them is one client",
    "query_day.sql writes": "what one service has cached is stale where another has written the table",
    "cache_reports.sql reported": "the report that is kept is of the database",
    "cache_reports.sql first_query": "the report that is kept is of the database",
    "query_log_partitions.sql days_without_partition": "a partition is of all services",
    **dict.fromkeys(
        ["old_rows.sql oldest", "query_retention.sql next", "query_retention.sql next_query_logs"],
        "the longest retention in force, and where to look at all",
    ),
}


def statements():
    """Name to text, of all that the package, the dashboards and the runbooks read with."""
    for folder in ("otel_ratelimit/postgres/statements", "dashboards/source/sql"):
        for file in sorted((ROOT / folder).glob("*.sql")):
            parts = re.split(r"^-- name: (\w+)\s*$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
            for name, body in zip(parts[::2], parts[1::2], strict=True):
                yield f"{file.name} {name}", body
    for page in sorted((ROOT / "docs").rglob("*.md")):
        blocks = re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield from ((f"{page.name} {number}", block) for number, block in enumerate(blocks))


READING = {name: body for name, body in statements() if READS.search(body) and not WRITES.search(body)}


def test_there_are_such_statements():
    assert {"analytics.sql limits", "overview.sql clients_refused", "RateLimitBlockedShareHigh.md 0"} <= set(
        READING
    )
    assert set(OF_ALL) <= set(READING)


@pytest.mark.parametrize("name", sorted(set(READING) - set(OF_ALL)))
def test_no_statement_adds_up_services_without_saying_so(name):
    body = "\n".join(line for line in READING[name].splitlines() if not line.startswith("--"))
    narrowed = re.search(r"\bservice = ", body)
    told_apart = re.search(
        r"\bGROUP BY (?:\w+\.)?service\b|\bSELECT service\b|\bservice AS|\bservice \|\| ", body
    )
    assert narrowed or told_apart, body
