"""How a statement changes its session, as far as its text shows."""

from __future__ import annotations

import re
from typing import Final

READING: Final = frozenset(
    b"select values table show explain fetch move close declare with"
    b" listen unlisten notify deallocate prepare".split()
)
"""First words of statements that change no data by themselves."""
ENDING: Final = frozenset({b"commit", b"end", b"rollback", b"abort"})
"""First words of statements that end a transaction, or return to a savepoint."""
_MAY_WRITE: Final = frozenset({b"with", b"explain", b"prepare"})
_FIRST_WORD: Final = re.compile(rb"[\s(]*+([a-z]++)", re.IGNORECASE)
_WRITING: Final = re.compile(rb"\b(insert|update|delete|merge|into)\b", re.IGNORECASE)
_INTO: Final = re.compile(rb"\binto\b", re.IGNORECASE)
"""SELECT INTO makes a table."""
_MAKES_TEMPORARY: Final = re.compile(
    rb"\b(?:create|into)\s++(?:(?:global|local)\s++)?temp(?:orary)?\b|\bpg_temp\b", re.IGNORECASE
)
_TO_SAVEPOINT: Final = re.compile(
    rb"\s*+(?:rollback|abort)\s++(?:(?:work|transaction)\s++)?to\s++(?:savepoint\s++)?(.++)",
    re.IGNORECASE | re.DOTALL,
)
_SAVEPOINT: Final = re.compile(
    rb"\s*+(?:release\s++savepoint|savepoint|release)\s++(.++)", re.IGNORECASE | re.DOTALL
)
_KEPT_SNAPSHOT: Final = re.compile(rb"repeatable\s++read|serializable", re.IGNORECASE)
_FOR_LATER: Final = re.compile(rb"characteristics|default_transaction_isolation", re.IGNORECASE)
_PLAIN: Final = re.compile(r"\s*+(select|insert|update|delete|merge)\b", re.IGNORECASE)
_NOT_PLAIN: Final = re.compile(r"set_config|\btemp", re.IGNORECASE)


def first_word(statement: bytes) -> bytes:
    """In lower case; empty where there is no word."""
    found = _FIRST_WORD.match(statement)
    return found[1].lower() if found is not None else b""


def second_word(statement: bytes) -> bytes:
    """In lower case, with what follows it without a blank; empty where there is no second word."""
    words = statement.lower().split(None, 2)
    return words[1] if len(words) > 1 else b""


def may_write(word: bytes, statement: bytes) -> bool:
    """Whether a statement whose first `word` is in `READING` may write."""
    written = _INTO if word == b"select" else _WRITING if word in _MAY_WRITE else None
    return written is not None and written.search(statement) is not None


def makes_temporary_table(statement: bytes) -> bool:
    """Whether it may make a temporary table, or names the schema of such tables."""
    return _MAKES_TEMPORARY.search(statement) is not None


def keeps_snapshot(statement: bytes) -> bool:
    """Whether it names an isolation level at which all of a transaction reads one snapshot."""
    return _KEPT_SNAPSHOT.search(statement) is not None


def sets_later_transactions(statement: bytes) -> bool:
    """Whether a SET of the isolation level is for the session's later transactions as well."""
    return _FOR_LATER.search(statement) is not None


def savepoint_returned_to(statement: bytes) -> bytes | None:
    """The savepoint of ROLLBACK TO; None for other statements."""
    found = _TO_SAVEPOINT.fullmatch(statement)
    return None if found is None else _name(found[1])


def savepoint_named(statement: bytes) -> bytes:
    """The savepoint of SAVEPOINT or RELEASE; empty where there is none."""
    found = _SAVEPOINT.fullmatch(statement)
    return b"" if found is None else _name(found[1])


def writes_if_plain(text: str) -> bool | None:
    """Whether statements of this text write, if that is all that they do to a session, whatever their values.

    Returns:
        None where the effect depends on more than the text, or where there is more to it.
    """
    found = _PLAIN.match(text)
    if found is None or _NOT_PLAIN.search(text) is not None:
        return None
    return found[1].lower() != "select" or _INTO.search(text.encode(errors="replace")) is not None


def _name(text: bytes) -> bytes:
    stripped = text.strip()
    return stripped if stripped.startswith(b'"') else stripped.lower()
