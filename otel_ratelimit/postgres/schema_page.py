"""Writes `docs/schema.md` from a migrated database: from its catalogue and the comments in it.

    python -m otel_ratelimit.postgres.schema_page postgresql://user@host/database > docs/schema.md

The page is the same for all supported versions of PostgreSQL. It leaves out the definitions of views, because
each version prints them differently.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from psycopg2 import extensions

from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.postgres.schema_connection import schema_connection
from otel_ratelimit.postgres.sql_files import statements

WRONG_USE: Final = 2
MAX_CHARACTERS: Final = 120
"""The longest line of a page."""
_INDENT: Final = "  "
_SENTENCE: Final = re.compile(r"(?<=[.:]) (?=[A-Z])")
_MARKDOWN: Final = str.maketrans({"<": "&lt;"})
"""Characters that would be read as HTML."""
_HEAD: Final = (
    "# Database schema",
    "",
    "This page is generated from a migrated database by `python -m otel_ratelimit.postgres.schema_page URL`.",
    "Do not edit it.",
    "Everything is in the schema `otel_ratelimit`; days and partitions are in UTC.",
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
        DatabaseError: the database cannot be reached, or the role may not read its catalogue.
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
        yield from ("", *_lines(relation.comment, indent=""))
    if relation.partitioned_by:
        yield from ("", f"Partitioned by {relation.partitioned_by}.")
    if relation.parent:
        # It has the columns and indexes of its parent.
        yield from ("", f"Partition of `{relation.parent}`: {relation.partition_bound}.")
        return
    about = {"relation": relation.oid}
    is_view = relation.kind == "v"
    yield from _list("Columns", [_column(is_view, *row) for row in _rows(connection, "columns", about)])
    yield from _list("Checks", [(f"`{check}`", "") for (check,) in _rows(connection, "checks", about)])
    yield from _list("Indexes", [_index(*row) for row in _rows(connection, "indexes", about)])


def _column(
    is_view: bool, name: str, kind: str, required: bool, default: str, comment: str
) -> tuple[str, str]:
    parts = [kind]
    if not required and not is_view:
        parts.append("may be null")
    if default:
        parts.append("generated" if default == "generated" else f"default `{default}`")
    return f"`{name}`: {', '.join(parts)}", comment


def _index(name: str, definition: str, primary: bool, comment: str) -> tuple[str, str]:
    unique = ", unique" if definition.startswith("CREATE UNIQUE") else ""
    method = definition[definition.index(" USING ") + 7 :]
    return f"`{name}`: `{method}`{unique}", comment or ("Primary key." if primary else "")


def _list(title: str, items: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A list: what an item is in its first line, and its comment below."""
    if items:
        yield from ("", f"{title}:", "")
        for what, comment in items:
            yield from textwrap.wrap(
                f"- {what}{'.' if comment else ''}",
                MAX_CHARACTERS,
                subsequent_indent=_INDENT,
                break_on_hyphens=False,
            )
            yield from _lines(comment, indent=_INDENT)


def _lines(comment: str, *, indent: str) -> Iterator[str]:
    """A comment, a sentence a line."""
    for sentence in _SENTENCE.split(comment.translate(_MARKDOWN)):
        yield from textwrap.wrap(
            sentence,
            MAX_CHARACTERS,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )


def _rows(
    connection: extensions.connection, statement: str, parameters: dict[str, int] | None = None
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statements("schema_page")[statement], parameters)
        return cursor.fetchall()


def main(arguments: Sequence[str]) -> int:
    """Print the page of the database that is named, and return the exit status."""
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
