"""What of a connection decides on the result of a query: who asks, where names are looked up, what was set.

Two equal texts are the same query only if database, role, `search_path` and whatever row security looks
at are the same. None of that can be asked for without another query, so it is followed: the connection's
own data, and every `SET`, `RESET`, `DISCARD` and `set_config` that goes through it. What a function sets
within the server is not seen.
"""

from __future__ import annotations

import re
from typing import Final

from psycopg2 import extensions

_IDLE: Final = extensions.TRANSACTION_STATUS_IDLE
_SNAPSHOT_KEPT: Final = frozenset(
    {extensions.ISOLATION_LEVEL_REPEATABLE_READ, extensions.ISOLATION_LEVEL_SERIALIZABLE}
)
_SET: Final = re.compile(
    rb"\s*SET\s+(?:(SESSION|LOCAL)\s+)?(TIME\s+ZONE|SESSION\s+AUTHORIZATION|AUTHORIZATION|[\w.\"]+)",
    re.IGNORECASE,
)
_RESET: Final = re.compile(rb"\s*RESET\s+(SESSION\s+AUTHORIZATION|TIME\s+ZONE|[\w.\"]+)", re.IGNORECASE)
_SET_CONFIG: Final = re.compile(
    rb"set_config\s*\(\s*'([^']*)'\s*,(.*?),\s*(true|false|'t'|'f')[^)]*\)", re.IGNORECASE | re.DOTALL
)
_SETTING_WORDS: Final = frozenset({b"set", b"res", b"dis"})
_READING_WORDS: Final = frozenset(
    {
        *(b"sel", b"val", b"tab", b"sho", b"exp", b"wit", b"fet", b"dec", b"clo", b"mov"),
        *(b"beg", b"sta", b"com", b"end", b"rol", b"abo", b"sav", b"rel"),
        *_SETTING_WORDS,
    }
)
_PLAIN_WORDS: Final = frozenset({"sel", "ins", "upd", "del", "mer"})
_WRITING: Final = re.compile(rb"\b(insert|update|delete|merge)\b", re.IGNORECASE)
_WITHOUT_EFFECT: Final = frozenset(
    {
        b"application_name",
        b"statement_timeout",
        b"lock_timeout",
        b"idle_in_transaction_session_timeout",
        b"idle_session_timeout",
        b"transaction_timeout",
        b"client_min_messages",
        b"work_mem",
        b"constraints",
        b"transaction",
    }
)
"""Settings that do not change what a query answers."""
_WHO_AND_WHERE: Final = ("dbname", "user", "options", "host", "hostaddr", "port")
"""Of libpq's parameters. Databases of one name on two servers may be replicas or shards: taken for shards, as
a cache that took shards for replicas would answer wrongly.
"""
_MOST_SETTINGS: Final = 64


class SessionState:
    """What is known of one connection; used by one thread at a time, as the connection is.

    Attributes:
        context: equal for two sessions in which equal queries have equal answers.
        database: its name.
        is_coloured: whether there is anything that the end of the transaction undoes.
    """

    __slots__ = (
        "_base",
        "_before",
        "_local",
        "_settings",
        "_snapshot_kept",
        "_wrote",
        "context",
        "database",
        "is_coloured",
    )

    def __init__(self, connection: extensions.connection) -> None:
        given = connection.info.dsn_parameters
        self.database = given.get("dbname", "")
        self._base = b"\0".join(given.get(name, "").encode() for name in _WHO_AND_WHERE)
        self._settings: dict[bytes, bytes] = {}
        self._before: dict[bytes, bytes] | None = None
        self._local: dict[bytes, bytes] = {}
        self._wrote = False
        self._snapshot_kept = False
        self.is_coloured = False
        self.context = self._base

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
        return self._wrote or self._snapshot_kept or isolation in _SNAPSHOT_KEPT

    def ran(self, statement: bytes) -> None:
        """After a statement that succeeded."""
        word = statement[:16].lstrip()[:3].lower()
        if word not in _READING_WORDS:
            self.wrote()
        elif word in _SETTING_WORDS:
            self._set(statement)
        elif word == b"wit":
            if _WRITING.search(statement) is not None:
                self.wrote()
        elif word in (b"beg", b"sta"):
            self._look_for_isolation(statement)
        elif word in (b"rol", b"abo"):
            if b" to " not in statement.lower():
                self.rolled_back()
        elif b"set_config" in statement.lower():
            self._set_config(statement)

    def wrote(self) -> None:
        """After a statement that wrote."""
        self._wrote = self.is_coloured = True

    def committed(self) -> None:
        """The transaction has ended, and what it set stays."""
        self._wrote = self._snapshot_kept = self.is_coloured = False
        self._before = None
        if self._local:
            self._local = {}
            self._renew()

    def rolled_back(self) -> None:
        """The transaction has ended, and what it set is undone."""
        self._wrote = self._snapshot_kept = self.is_coloured = False
        if self._before is not None or self._local:
            self._settings = self._before if self._before is not None else self._settings
            self._before, self._local = None, {}
            self._renew()

    def reset(self) -> None:
        """The session is as it was when it began."""
        self._settings, self._before, self._local = {}, None, {}
        self._wrote = self._snapshot_kept = self.is_coloured = False
        self.context = self._base

    def _set(self, statement: bytes) -> None:
        found = _SET.match(statement)
        if found is not None:
            self._look_for_isolation(statement)
            self._note(_plain(found[2]), statement, local=(found[1] or b"").lower() == b"local")
            return
        found = _RESET.match(statement)
        name = _plain(found[1]) if found is not None else b"all"  # DISCARD
        if name == b"all":
            self.reset()
        else:
            self._note(name, b"", local=False)

    def _set_config(self, statement: bytes) -> None:
        calls = _SET_CONFIG.findall(statement)
        if not calls:
            self._note(b"?", self.context + statement, local=False)
        for name, value, local in calls:
            self._note(_plain(name), value.strip(), local=local.lower() in (b"true", b"'t'"))

    def _note(self, name: bytes, value: bytes, *, local: bool) -> None:
        if name in _WITHOUT_EFFECT:
            return
        self.is_coloured = True
        if local:
            self._local[name] = value
        else:
            if self._before is None:
                self._before = dict(self._settings)
            self._settings[name] = value
            if len(self._settings) > _MOST_SETTINGS:
                # More than any session has: names out of data. Fold them, so that memory is bounded.
                self._settings = {b"?": self.context + value}
        self._renew()

    def _renew(self) -> None:
        if not self._settings and not self._local:
            self.context = self._base
            return
        settings = sorted({**self._settings, **self._local}.items())
        parts = [part for name, value in settings if value for part in (name, value)]
        self.context = b"\0".join((self._base, *parts))

    def _look_for_isolation(self, statement: bytes) -> None:
        lowered = statement.lower()
        if b"repeatable read" in lowered or b"serializable" in lowered:
            self._snapshot_kept = self.is_coloured = True


def effect_of(text: str) -> bool | None:
    """What statements of this text do to a session, whatever their values: whether they write.

    Returns:
        None where that depends on more, or where there is more to it.
    """
    word = text[:16].lstrip()[:3].lower()
    if word not in _PLAIN_WORDS or "set_config" in text.lower():
        return None
    return word != "sel"


def _plain(name: bytes) -> bytes:
    return b" ".join(name.replace(b'"', b"").lower().split())
