"""The text of an object that is given as a statement."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

_MAX_PARTS: Final = 1_000_000
"""Parts of an object of psycopg2.sql. One with more contains itself."""


def is_statement(sql: Any) -> bool:
    """Whether it is text, bytes or an object of psycopg2.sql."""
    return isinstance(sql, str | bytes | bytearray | memoryview) or _is_composed(sql)


def statement_text(sql: Any) -> str:
    """The text of a statement as `hash_query` reads it; its literals may be placeholders.

    It never raises. For an object without a text, it is the name of its type.
    """
    with suppress(
        Exception
    ):  # the application's objects may raise anything when they are asked for their text
        if isinstance(sql, str):
            return str.__str__(sql)
        if isinstance(sql, bytes | bytearray | memoryview):
            return bytes(sql).decode("utf-8", "replace")
        if _is_composed(sql):
            return _composed(sql)
        return str.__str__(str(sql))
    return f"<{type.__dict__['__name__'].__get__(type(sql))}>"


def _is_composed(sql: Any) -> bool:
    # By name, because this package does not depend on psycopg2.
    return any(base.__name__ == "Composable" for base in type(sql).__mro__)


def _composed(sql: Any) -> str:
    """The text of an object of psycopg2.sql. To write literals it would need a connection."""
    texts: list[str] = []
    waiting = [sql]
    for _ in range(_MAX_PARTS):
        if not waiting:
            return "".join(texts)
        part = waiting.pop()
        if hasattr(part, "seq"):
            waiting.extend(reversed(list(part.seq)))
        elif hasattr(part, "strings"):
            texts.append(".".join('"' + str(name).replace('"', '""') + '"' for name in part.strings))
        elif hasattr(part, "string"):
            texts.append(part.string)
        else:  # a literal or a placeholder
            texts.append("%s")
    raise ValueError(f"{type(sql).__name__} has more than {_MAX_PARTS} parts")
