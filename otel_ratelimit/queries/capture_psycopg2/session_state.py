"""The state of a session that a query's result depends on: the role, where names are looked up, what was set.

Two equal texts are the same query only if server, database, role, `search_path` and whatever row security
looks at are the same. To ask the server would take another query. So the state is followed: it starts with
the connection's own data, and changes with each statement that sets something, with transactions and
savepoints. Where a statement does so in an unusual way, the session has a context of its own from then on:
two contexts for one state do less harm than one context for two. Settings that a function changes within the
server are not seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from psycopg2 import InterfaceError, extensions

from otel_ratelimit.queries.capture_psycopg2.relevant_settings import WITHOUT_EFFECT
from otel_ratelimit.queries.capture_psycopg2.set_statements import (
    ALL,
    ROLE,
    USER,
    Setting,
    calls_set_config,
    reset_by,
    set_by,
    set_by_calls,
    setting,
)
from otel_ratelimit.queries.capture_psycopg2.statement_effects import (
    ENDING,
    READING,
    first_word,
    keeps_snapshot,
    makes_temporary_table,
    may_write,
    savepoint_named,
    savepoint_returned_to,
    second_word,
    sets_later_transactions,
)

_IDLE: Final = extensions.TRANSACTION_STATUS_IDLE
_IN_ERROR: Final = extensions.TRANSACTION_STATUS_INERROR
_SNAPSHOT_KEPT: Final = frozenset(
    {extensions.ISOLATION_LEVEL_REPEATABLE_READ, extensions.ISOLATION_LEVEL_SERIALIZABLE}
)
_WHO_AND_WHERE: Final = ("dbname", "user", "options", "host", "hostaddr", "port")
"""Parameters of libpq. Databases of one name on two servers may be replicas or shards. They are taken for
shards, because a cache that took shards for replicas would answer wrongly.
"""
_BACKSLASH_WITHIN_CHARACTERS: Final = frozenset(
    {"SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"}
)
"""Encodings of clients in which the second byte of a character may be that of a backslash.

PostgreSQL's documentation, "Supported Character Sets": the encodings that no server uses.
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
    """The state of one connection's session, a `SessionContext`; used by one thread at a time.

    Attributes:
        context: equal for two sessions in which equal queries have equal results; of bounded length.
        database: name of the database.
        has_changes: whether the transaction has changed anything that its end may undo.
    """

    __slots__ = (
        "_base",
        "_before",
        "_has_failed",
        "_is_isolated",
        "_local",
        "_parameter",
        "_savepoints",
        "_settings",
        "_snapshot_kept",
        "_wrote",
        "context",
        "database",
        "has_changes",
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
        """Characters that make the next text ambiguous, because they may end a string or not.

        Returns:
            A backslash, or a backslash with a quote; empty where every text is clear.
        """
        try:
            if self._parameter("client_encoding") in _BACKSLASH_WITHIN_CHARACTERS:
                return "\\"
            return "\\'" if self._parameter("standard_conforming_strings") == "off" else ""
        except InterfaceError:  # the connection is closed, and its parameters are gone with it
            return "\\"

    def begins(self, status: int, isolation: int | None) -> bool:
        """Called before a statement: whether its transaction may change its result.

        Args:
            status: the connection's `TRANSACTION_STATUS_*` before the statement.
            isolation: the connection's isolation level, None for the server's default.
        """
        if status == _IDLE:
            if self.has_changes:
                self.committed()
            return False
        self._has_failed = status == _IN_ERROR
        return self._wrote or self._snapshot_kept or self._is_isolated or isolation in _SNAPSHOT_KEPT

    def ran(self, statement: bytes) -> None:
        """Called after a statement that succeeded, without its comments."""
        word = first_word(statement)
        if word == b"set":
            self._set(statement)
        elif word == b"reset":
            self._put_or_doubt(reset_by(statement), statement)
        elif word == b"discard":
            self._discard(statement)
        elif word in ENDING:
            self._end(word, statement)
        elif word in (b"savepoint", b"release"):
            self._savepoint(word, statement)
        elif word in (b"begin", b"start"):
            self._look_for_isolation(statement)
        elif word in READING:
            self._read(word, statement)
        else:
            self.wrote()
            self._look_for_more(statement)

    def wrote(self) -> None:
        """Called after a statement that wrote."""
        self._wrote = self.has_changes = True

    def committed(self) -> None:
        """The transaction has ended, and its settings stay."""
        self._forget_transaction()
        if self._local:
            self._local = {}
            self._renew()

    def rolled_back(self) -> None:
        """The transaction has ended, and its settings are undone."""
        before = self._before
        self._forget_transaction()
        if before is not None or self._local:
            self._settings, self._local = (self._settings if before is None else before), {}
            self._renew()

    def reset(self) -> None:
        """The session is as it was when it started."""
        self._settings, self._local = {}, {}
        self._is_isolated = False
        self._forget_transaction()
        self.context = self._base

    def encoded(self, encoding: str) -> None:
        """The client's encoding was set."""
        self._put(setting(b"client_encoding", encoding.encode(), is_local=False))

    def doubt(self, statement: bytes) -> None:
        """From now on no other session has the same context, unless it has run the same statements."""
        self._put(Setting(_UNCERTAIN, _digest(self.context + statement), is_local=False))

    def _forget_transaction(self) -> None:
        self._wrote = self._snapshot_kept = self.has_changes = self._has_failed = False
        self._before, self._savepoints = None, []

    def _end(self, word: bytes, statement: bytes) -> None:
        name = savepoint_returned_to(statement)
        if name is not None:
            self._return_to(name, statement)
        elif word in (b"rollback", b"abort") or self._has_failed:
            self.rolled_back()
        else:
            self.committed()

    def _savepoint(self, word: bytes, statement: bytes) -> None:
        name = savepoint_named(statement)
        if word == b"savepoint":
            self.has_changes = True
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
        """The last savepoint of this name."""
        found = [index for index, savepoint in enumerate(self._savepoints) if savepoint.name == name]
        return found[-1] if found else None

    def _read(self, word: bytes, statement: bytes) -> None:
        if word == b"prepare" and second_word(statement) == b"transaction":
            self.committed()
            self.doubt(statement)
            return
        if may_write(word, statement):
            self.wrote()
        self._look_for_more(statement)

    def _look_for_more(self, statement: bytes) -> None:
        if makes_temporary_table(statement):
            # In another session the same name is another table.
            self._put(Setting(_TEMPORARY, os.urandom(16), is_local=False))
        if calls_set_config(statement):
            settings = set_by_calls(statement)
            if settings is None:
                self.doubt(statement)
            for each in settings or ():
                self._put(each)

    def _set(self, statement: bytes) -> None:
        if keeps_snapshot(statement):
            self._look_for_isolation(statement)
            self._is_isolated |= sets_later_transactions(statement)
        if second_word(statement) not in (b"transaction", b"constraints"):
            self._put_or_doubt(set_by(statement), statement)

    def _discard(self, statement: bytes) -> None:
        what = second_word(statement)
        if what == b"all":
            self.reset()
        elif what in (b"temp", b"temporary"):
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
        self.has_changes = True
        if self._before is None:
            self._before = dict(self._settings)
        if name == ALL:
            kept = (ROLE, USER, _TEMPORARY)
            self._settings = {key: value for key, value in self._settings.items() if key in kept}
            self._local = {key: value for key, value in self._local.items() if key in kept}
        elif is_local:
            self._local[name] = value
        else:
            if name == USER:  # which roles are allowed depends on the user
                value += b"\0" + self._local.get(ROLE, self._settings.get(ROLE, b""))
            self._local.pop(name, None)
            self._settings[name] = value
        if len(self._settings) + len(self._local) > _MAX_SETTINGS:
            # No session has so many, so the names come from data. They are folded into one to bound memory.
            self._settings, self._local = {_UNCERTAIN: b""}, {}
        if name != _UNCERTAIN and _UNCERTAIN in self._settings:
            # It is unknown whether it was set before.
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
        if keeps_snapshot(statement):
            self._snapshot_kept = self.has_changes = True


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
