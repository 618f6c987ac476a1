"""The settings that a statement changes in its session, where that can be read from its text.

PostgreSQL's documentation: SET, RESET, DISCARD, "System Administration Functions" for `set_config`. There is
no guess about statements that are written in an unusual way.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from otel_ratelimit.queries.fingerprint import MAX_READ_CHARACTERS
from otel_ratelimit.queries.fingerprint.lexer import Kind, tokens

ALL: Final = b"*"
"""Every setting except the role and the session's user."""
ROLE: Final = b"role"
USER: Final = b"session authorization"


class Setting(NamedTuple):
    """A setting, under one of its names."""

    name: bytes
    value: bytes
    """Empty for the default value."""
    is_local: bool
    """It ends with the transaction."""


_FLAGS: Final = re.IGNORECASE | re.DOTALL
_SET: Final = re.compile(
    rb"\s*+SET\s++(?:(SESSION|LOCAL)\s++(?!AUTHORIZATION\b))?"
    rb"(?:(TIME\s++ZONE|SESSION\s++AUTHORIZATION|NAMES|SCHEMA|ROLE)\s++|([\w.\"]++)\s*+(?:=|\bTO\b))\s*+(.*+)",
    _FLAGS,
)
_RESET: Final = re.compile(rb"\s*+RESET\s++(SESSION\s++AUTHORIZATION|TIME\s++ZONE|[\w.\"]++)\s*+", _FLAGS)
_CALL: Final = (
    rb"(?:pg_catalog\s*+\.\s*+)?set_config\s*+\(\s*+'([^'\\]*+)'(?:::\w++)?\s*+,"
    rb"\s*+'([^'\\]*+)'(?:::\w++)?\s*+,\s*+(true|false|'t'|'f'|'true'|'false')\s*+\)(?:\s++as\s++\w++)?"
)
_ONE_CALL: Final = re.compile(_CALL, _FLAGS)
_CALLS: Final = re.compile(rb"\s*+SELECT\s++" + _CALL + rb"\s*+(?:,\s*+" + _CALL + rb"\s*+|(?!))*+", _FLAGS)
_OTHER_NAMES: Final = {b"time zone": b"timezone", b"names": b"client_encoding", b"schema": b"search_path"}
_WORDS: Final = re.compile(rb"[\w.,$\s-]*+")
_QUOTED: Final = re.compile(rb"'([^'\\]*+)'")
_DEFAULTS: Final = frozenset({b"default"})


def set_by(statement: bytes) -> Setting | None:
    """The setting that a SET of one setting changes; None for other statements and unusual spellings."""
    found = _SET.fullmatch(statement)
    if found is None:
        return None
    scope, special, name, value = found.groups()
    return setting(special or name, value, is_local=(scope or b"").lower() == b"local")


def reset_by(statement: bytes) -> Setting | None:
    """The setting that a RESET resets; None for an unusual spelling."""
    found = _RESET.fullmatch(statement)
    if found is None:
        return None
    name = _named(found[1])
    return Setting(ALL if name == b"all" else name, b"", is_local=False)


def calls_set_config(statement: bytes) -> bool:
    """Whether a statement may call `set_config`."""
    if b"set_config" not in statement.lower():
        return False
    if len(statement) > MAX_READ_CHARACTERS:
        return True
    names = (Kind.WORD, Kind.NAME)
    text = statement.decode("utf-8", "surrogateescape")
    return any("set_config" in token.text.lower() for token in tokens(text) if token.kind in names)


def set_by_calls(statement: bytes) -> tuple[Setting, ...] | None:
    """The settings that a SELECT of only `set_config` with literals changes; None for other statements."""
    if _CALLS.fullmatch(statement) is None:
        return None
    calls = _ONE_CALL.findall(statement)
    return tuple(
        setting(name, b"'" + value + b"'", is_local=b"t" in scope.lower()[:2]) for name, value, scope in calls
    )


def setting(name: bytes, value: bytes, *, is_local: bool) -> Setting:
    """A setting. Its value is in one spelling where several are usual."""
    value = value.strip()
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = quoted[1]
    elif _WORDS.fullmatch(value) is not None:
        value = b" ".join(value.lower().split())
        if value in _DEFAULTS:
            value = b""
    name = _named(name)
    if name == ROLE and value == b"none":
        value = b""
    return Setting(name, value, is_local)


def _named(name: bytes) -> bytes:
    plain = b" ".join(name.replace(b'"', b"").lower().split())
    return _OTHER_NAMES.get(plain, plain)
