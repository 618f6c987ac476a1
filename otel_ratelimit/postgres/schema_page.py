"""Generates `docs/schema.md` from the catalogue of a migrated database and the comments in it.

    python -m otel_ratelimit.postgres.schema_page postgresql://user@host/database > docs/schema.md

View definitions are left out, because each version of PostgreSQL prints them differently.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from psycopg2 import extensions

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres.schema_connection import schema_connection
from otel_ratelimit.postgres.sql_files import statements

WRONG_USE: Final = 2
_MARKDOWN: Final = str.maketrans({"|": "\\|", "<": "&lt;"})
"""Characters that would end a cell or start HTML."""
_HEAD: Final = (
    "# Database schema",
    "",
    "Generated from a migrated database by `python -m otel_ratelimit.postgres.schema_page URL`: do not edit.",
    "Everything is in the schema `otel_ratelimit`; days and partitions are those of UTC.",
)


class _Relation(NamedTuple):
    oid: int
    name: str
    kind: str
    comment: str
    partitioned_by: str
    partition_bound: str
    parent: str


def schema_page(url: str | Secret) -> str:
    """The page, in Markdown.

    Raises:
        DatabaseError: no connection, or the role may not read the catalogue.
    """
    with schema_connection(url) as connection:
        relations = [_Relation(*row) for row in _rows(connection, "relations")]
        lines = [*_HEAD]
        for relation in relations:
            lines += ["", *_section(connection, relation)]
    return "\n".join(lines) + "\n"


def _section(connection: extensions.connection, relation: _Relation) -> Iterator[str]:
    yield f"## {'View ' if relation.kind == 'v' else ''}`{relation.name}`"
    if relation.comment:
        yield from ("", relation.comment)
    if relation.partitioned_by:
        yield from ("", f"Partitioned by {relation.partitioned_by}.")
    if relation.parent:
        # It has the same columns and indexes as its parent.
        yield from ("", f"Partition of `{relation.parent}`: {relation.partition_bound}.")
        return
    about = {"relation": relation.oid}
    yield from ("", "| column | type | null | default | |", "|---|---|---|---|---|")
    for name, kind, required, default, comment in _rows(connection, "columns", about):
        nullable = "" if required or relation.kind == "v" else "yes"
        yield _row(f"`{name}`", kind, nullable, f"`{default}`" if default else "", comment)
    yield from _list("Checks", [f"`{check}`" for (check,) in _rows(connection, "checks", about)])
    indexes = _rows(connection, "indexes", about)
    yield from _list(
        "Indexes",
        [
            f"`{name}`: `{definition[definition.index(' USING ') + 7 :]}`"
            + (", unique" if definition.startswith("CREATE UNIQUE") else "")
            + (f". {'Primary key' if primary and not comment else comment}" if primary or comment else "")
            for name, definition, primary, comment in indexes
        ],
    )


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", f"{title}:", "")
        yield from (f"- {item}" for item in items)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.translate(_MARKDOWN) for cell in cells)} |"


def _rows(
    connection: extensions.connection, statement: str, parameters: dict[str, int] | None = None
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statements("schema_page")[statement], parameters)
        return cursor.fetchall()


def main(arguments: Sequence[str]) -> int:
    """Print the page for the database in `arguments`; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m otel_ratelimit.postgres.schema_page URL\n")
        return WRONG_USE
    try:
        sys.stdout.write(schema_page(arguments[0]))
    except DatabaseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
