"""What of a connection decides on the result of a query: who asks, where names are looked up, what was set.

Two equal texts are the same query only if server, database, role, `search_path` and whatever row security
looks at are the same. None of that can be asked for without another query, so it is followed: the
connection's own data, and each statement that sets something, with transactions and savepoints. Where a
statement does so in an unusual way, the session has a context of its own from there on: rather two contexts
for one than one for two. What a function sets within the server is not seen.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from psycopg2 import InterfaceError, extensions

from otel_ratelimit.queries.capture_psycopg2.settings import (
    ALL,
    ROLE,
    USER,
    WITHOUT_EFFECT,
    Setting,
    calls_set_config,
    reset_by,
    set_by,
    set_by_calls,
    setting,
)

_IDLE: Final = extensions.TRANSACTION_STATUS_IDLE
_IN_ERROR: Final = extensions.TRANSACTION_STATUS_INERROR
_SNAPSHOT_KEPT: Final = frozenset(
    {extensions.ISOLATION_LEVEL_REPEATABLE_READ, extensions.ISOLATION_LEVEL_SERIALIZABLE}
)
_WHO_AND_WHERE: Final = ("dbname", "user", "options", "host", "hostaddr", "port")
"""Of libpq's parameters. Databases of one name on two servers may be replicas or shards: taken for shards, as
a cache that took shards for replicas would answer wrongly.
"""
_FIRST_WORD: Final = re.compile(rb"[\s(]*+([a-z]++)", re.IGNORECASE)
_READING: Final = frozenset(
    {
        *(
            b"select",
            b"values",
            b"table",
            b"show",
            b"explain",
            b"fetch",
            b"move",
            b"close",
            b"declare",
            b"with",
        ),
        *(b"listen", b"unlisten", b"notify", b"deallocate", b"prepare"),
    }
)
_ENDING: Final = frozenset({b"commit", b"end", b"rollback", b"abort"})
_MAY_WRITE: Final = frozenset({b"with", b"explain", b"prepare"})
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
_BACKSLASH_WITHIN_CHARACTERS: Final = frozenset(
    {"SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"}
)
"""Encodings of clients in which the second byte of a character may be a backslash's: PostgreSQL's
documentation, "Supported Character Sets", those that no server has.
"""
_TEMPORARY: Final = b"temporary tables"
_UNCERTAIN: Final = b"?"
_MAX_SETTINGS: Final = 64
_MAX_SAVEPOINTS: Final = 64

Settings = dict[bytes, bytes]


class _Savepoint(NamedTuple):
    name: bytes
    settings: Settings
    local: Settings
    wrote: bool


class SessionState:
    """What is known of one connection; used by one thread at a time, as the connection is.

    Attributes:
        context: equal for two sessions in which equal queries have equal answers; of bounded length.
        database: its name.
        is_coloured: whether there is anything that the end of the transaction undoes.
    """

    __slots__ = (
        *(
            "_base",
            "_before",
            "_has_failed",
            "_is_isolated",
            "_local",
            "_parameter",
            "_savepoints",
            "_settings",
        ),
        *("_snapshot_kept", "_wrote", "context", "database", "is_coloured"),
    )

    _before: Settings | None
    _local: Settings
    _savepoints: list[_Savepoint]
    _settings: Settings

    def __init__(self, connection: extensions.connection) -> None:
        self._parameter: Callable[[str], str | None] = connection.get_parameter_status
        given = connection.info.dsn_parameters
        self.database: str = given.get("dbname", "")
        who_and_where = [given.get(name, "") for name in _WHO_AND_WHERE]
        self._base = b"\0".join(text.encode() for text in (*who_and_where, connection.encoding))
        self.reset()

    def ambiguous(self) -> str:
        """What makes a text ambiguous that the server reads next, as it may end a string or not.

        Returns:
            A backslash or one with a quote; empty where all texts are clear.
        """
        try:
            if self._parameter("client_encoding") in _BACKSLASH_WITHIN_CHARACTERS:
                return "\\"
            return "\\'" if self._parameter("standard_conforming_strings") == "off" else ""
        except InterfaceError:  # the connection is closed, and what the server said is gone with it
            return "\\"

    def begins(self, status: int, isolation: int | None) -> bool:
        """Before a statement: whether its result is coloured by the transaction it stands in.

        Args:
            status: the connection's `TRANSACTION_STATUS_*` before the statement.
            isolation: the connection's isolation level, None for the server's default.
        """
        if status == _IDLE:
            if self.is_coloured:
                self.committed()
            return False
        self._has_failed = status == _IN_ERROR
        return self._wrote or self._snapshot_kept or self._is_isolated or isolation in _SNAPSHOT_KEPT

    def ran(self, statement: bytes) -> None:
        """After a statement that succeeded; without comments."""
        found = _FIRST_WORD.match(statement)
        word = found[1].lower() if found is not None else b""
        if word == b"set":
            self._set(statement)
        elif word == b"reset":
            self._put_or_doubt(reset_by(statement), statement)
        elif word == b"discard":
            self._discard(statement)
        elif word in _ENDING:
            self._end(word, statement)
        elif word in (b"savepoint", b"release"):
            self._savepoint(word, statement)
        elif word in (b"begin", b"start"):
            self._look_for_isolation(statement)
        elif word in _READING:
            self._read(word, statement)
        else:
            self.wrote()
            self._look_for_more(statement)

    def wrote(self) -> None:
        """After a statement that wrote."""
        self._wrote = self.is_coloured = True

    def committed(self) -> None:
        """The transaction has ended, and what it set stays."""
        self._forget_transaction()
        if self._local:
            self._local = {}
            self._renew()

    def rolled_back(self) -> None:
        """The transaction has ended, and what it set is undone."""
        before = self._before
        self._forget_transaction()
        if before is not None or self._local:
            self._settings, self._local = (self._settings if before is None else before), {}
            self._renew()

    def reset(self) -> None:
        """The session is as it was when it began."""
        self._settings, self._local = {}, {}
        self._is_isolated = False
        self._forget_transaction()
        self.context = self._base

    def encoded(self, encoding: str) -> None:
        """The client's encoding was set."""
        self._put(setting(b"client_encoding", encoding.encode(), is_local=False))

    def doubt(self, statement: bytes) -> None:
        """From here on no other session is like this one, unless it has run the same."""
        self._put(Setting(_UNCERTAIN, _digest(self.context + statement), is_local=False))

    def _forget_transaction(self) -> None:
        self._wrote = self._snapshot_kept = self.is_coloured = self._has_failed = False
        self._before, self._savepoints = None, []

    def _end(self, word: bytes, statement: bytes) -> None:
        to = _TO_SAVEPOINT.fullmatch(statement)
        if to is not None:
            self._return_to(_name(to[1]), statement)
        elif word in (b"rollback", b"abort") or self._has_failed:
            self.rolled_back()
        else:
            self.committed()

    def _savepoint(self, word: bytes, statement: bytes) -> None:
        found = _SAVEPOINT.fullmatch(statement)
        name = _name(found[1]) if found is not None else b""
        if word == b"savepoint":
            self.is_coloured = True
            self._savepoints.append(_Savepoint(name, dict(self._settings), dict(self._local), self._wrote))
            del self._savepoints[:-_MAX_SAVEPOINTS]
            return
        index = self._find(name)
        if index is not None:
            del self._savepoints[index:]

    def _return_to(self, name: bytes, statement: bytes) -> None:
        index = self._find(name)
        if index is None:
            self.doubt(statement)
            return
        _, settings, local, wrote = self._savepoints[index]
        del self._savepoints[index + 1 :]
        self._settings, self._local, self._wrote = dict(settings), dict(local), wrote
        self._renew()

    def _find(self, name: bytes) -> int | None:
        """Of several of one name the last."""
        found = [index for index, savepoint in enumerate(self._savepoints) if savepoint.name == name]
        return found[-1] if found else None

    def _read(self, word: bytes, statement: bytes) -> None:
        if word == b"prepare" and statement.lower().split()[1:2] == [b"transaction"]:
            self.committed()
            self.doubt(statement)
            return
        written = _INTO if word == b"select" else _WRITING if word in _MAY_WRITE else None
        if written is not None and written.search(statement) is not None:
            self.wrote()
        self._look_for_more(statement)

    def _look_for_more(self, statement: bytes) -> None:
        if _MAKES_TEMPORARY.search(statement) is not None:
            # Of the same name in another session there is another one.
            self._put(Setting(_TEMPORARY, os.urandom(16), is_local=False))
        if calls_set_config(statement):
            settings = set_by_calls(statement)
            if settings is None:
                self.doubt(statement)
            for each in settings or ():
                self._put(each)

    def _set(self, statement: bytes) -> None:
        second = statement.lower().split()[1:2]
        if _KEPT_SNAPSHOT.search(statement) is not None:
            self._look_for_isolation(statement)
            self._is_isolated |= _FOR_LATER.search(statement) is not None
        if second not in ([b"transaction"], [b"constraints"]):
            self._put_or_doubt(set_by(statement), statement)

    def _discard(self, statement: bytes) -> None:
        what = statement.lower().split()[1:2]
        if what == [b"all"]:
            self.reset()
        elif what in ([b"temp"], [b"temporary"]):
            self._put(Setting(_TEMPORARY, b"", is_local=False))

    def _put_or_doubt(self, found: Setting | None, statement: bytes) -> None:
        if found is not None:
            self._put(found)
        else:
            self.doubt(statement)

    def _put(self, new: Setting) -> None:
        name, value, is_local = new
        if name in WITHOUT_EFFECT:
            return
        self.is_coloured = True
        if self._before is None:
            self._before = dict(self._settings)
        if name == ALL:
            kept = (ROLE, USER, _TEMPORARY)
            self._settings = {key: value for key, value in self._settings.items() if key in kept}
            self._local = {key: value for key, value in self._local.items() if key in kept}
        elif is_local:
            self._local[name] = value
        else:
            if name == USER:  # who may have which role depends on who asks
                value += b"\0" + self._local.get(ROLE, self._settings.get(ROLE, b""))
            self._local.pop(name, None)
            self._settings[name] = value
        if len(self._settings) + len(self._local) > _MAX_SETTINGS:
            # More than any session has: names out of data. Folded, so that memory is bounded.
            self._settings, self._local = {_UNCERTAIN: b""}, {}
        if name != _UNCERTAIN and _UNCERTAIN in self._settings:
            # It may have been set already, or not.
            self._settings[_UNCERTAIN] = _digest(b"\0".join((self.context, name, value, b"L" * is_local)))
        self._renew()

    def _renew(self) -> None:
        set_now = sorted((name, value) for name, value in {**self._settings, **self._local}.items() if value)
        if not set_now:
            self.context = self._base
            return
        parts = [len(part).to_bytes(8, "big") + part for pair in set_now for part in pair]
        self.context = self._base + b"\0" + _digest(b"".join(parts))

    def _look_for_isolation(self, statement: bytes) -> None:
        if _KEPT_SNAPSHOT.search(statement) is not None:
            self._snapshot_kept = self.is_coloured = True


def effect_of(text: str) -> bool | None:
    """What statements of this text do to a session, whatever their values: whether they write.

    Returns:
        None where that depends on more, or where there is more to it.
    """
    found = _PLAIN.match(text)
    if found is None or _NOT_PLAIN.search(text) is not None:
        return None
    return found[1].lower() != "select" or _INTO.search(text.encode(errors="replace")) is not None


def _name(text: bytes) -> bytes:
    stripped = text.strip()
    return stripped if stripped.startswith(b'"') else stripped.lower()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
