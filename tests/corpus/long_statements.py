"""Long statements of this project's own: lists and rows of many lengths, with ends that matter.

Those of PostgreSQL's tests are short. Here each form comes with several lengths around and far beyond the one
up to which a text is read whole, and with ends of which each is a query of its own to PostgreSQL.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

TABLES = """
CREATE TABLE jobs (id int PRIMARY KEY, name text, deleted boolean, posted date, tags text[]);
CREATE TABLE companies (id int PRIMARY KEY, name text, deleted boolean, posted date, tags text[]);
"""
LENGTHS = (2, 900, 3_000)
"""Elements of a list."""
ROWS = (1, 30, 900)
LISTED = (
    "id NOT IN ({ids})",
    "name IN ({names})",
    "id = ANY (ARRAY[{ids}])",
    "posted IN ({dates})",
    "(id, name) IN ({pairs})",
)
ENDS = (
    *("", " AND deleted = false", " AND deleted", " AND name IS NULL", " ORDER BY id", " ORDER BY name DESC"),
    *(" FOR UPDATE", " FOR SHARE", " FOR UPDATE SKIP LOCKED", " LIMIT 10", " AND id IN (1, 2)"),
    *(" GROUP BY id", " AND EXISTS (SELECT 1 FROM companies c WHERE c.id = jobs.id)", " UNION SELECT 1"),
)
CONFLICTS = (
    *("", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO NOTHING", " RETURNING id", " RETURNING name"),
    *(
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        " ON CONFLICT (id) DO UPDATE SET deleted = true",
    ),
)
VALUES = ("({id}, '{name}')", "({id}, upper('{name}'))", "({id}, DEFAULT)", "({id}, NULL)")


def statements(draw: random.Random) -> Iterator[str]:
    """Each with its semicolon."""
    for listed in LISTED:
        for end in ENDS:
            for length in LENGTHS:
                numbers = [draw.randrange(10**6) for _ in range(length)]
                values = listed.format(
                    ids=", ".join(map(str, numbers)),
                    names=", ".join(f"'it''s {number}'" for number in numbers),
                    dates=", ".join(f"'2026-01-{number % 28 + 1:02}'::date" for number in numbers),
                    pairs=", ".join(f"({number}, 'a{number}')" for number in numbers),
                )
                yield f"SELECT id FROM jobs WHERE {values}{end};"
    for row in VALUES:
        for end in CONFLICTS:
            yield "TRUNCATE jobs;"
            first = 0
            for rows in ROWS:
                values = ", ".join(
                    row.format(id=first + index, name=f"it''s {index}") for index in range(rows)
                )
                first += rows
                yield f"INSERT INTO jobs (id, name) VALUES {values}{end};"


def write(folder: Path) -> Path:
    """The file, for psql."""
    path = folder / "long" / "sql" / "long_statements.sql"
    path.parent.mkdir(parents=True)
    path.write_text(TABLES + "\n".join(statements(random.Random(17))), encoding="utf-8")
    return path
