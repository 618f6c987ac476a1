"""Connections whose cursors tell of what they execute, whatever class of cursor is asked for.

psycopg2 takes a class of connection and one of cursor, and a cursor's class can be given anew with each
`cursor(cursor_factory=...)`, past OpenTelemetry, which gives its own once. So the connection decides: below
every class that the application or OpenTelemetry gives there is one of ours.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from psycopg2 import InterfaceError, extensions

from otel_ratelimit.queries.capture_psycopg2.asynchronous import poll_failed, polled
from otel_ratelimit.queries.capture_psycopg2.cursors import SESSION, named_as
from otel_ratelimit.queries.capture_psycopg2.session import SessionState

Say = Callable[[str, str], None]

_IDLE: Final = extensions.TRANSACTION_STATUS_IDLE
_IN_ERROR: Final = extensions.TRANSACTION_STATUS_INERROR
_MAX_CLASSES: Final = 64
"""Classes of cursors that a connection remembers; some applications make one for each cursor."""


def capturing_connection(  # noqa: C901 - a class, whose methods count here
    cursor_class: type[extensions.cursor],
    async_cursor_class: type[extensions.cursor],
    say: Say,
) -> type[extensions.connection]:
    """The class of connections whose cursors are `cursor_class`, below whatever else they are.

    Those of asynchronous connections are `async_cursor_class`.
    """

    class CapturingConnection(extensions.connection):
        # There is no __init__: some classes of connections do not call the next one's.
        _otel_ratelimit_cursors: dict[type, type]
        otel_ratelimit_underway: Any = None

        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            given = args[1] if len(args) > 1 else kwargs.get("cursor_factory")
            default: Any = self.cursor_factory
            wanted: Any = given or default or extensions.cursor
            try:
                factory = self._otel_ratelimit_cursors[wanted]
            except (AttributeError, KeyError, TypeError):
                factory = self._otel_ratelimit_cursor(wanted)
            if len(args) > 1:
                args = (args[0], factory, *args[2:])
            else:
                kwargs["cursor_factory"] = factory
            return super().cursor(*args, **kwargs)

        def _otel_ratelimit_cursor(self, wanted: Any) -> Any:
            ours = async_cursor_class if self.async_ else cursor_class
            made = below(wanted, ours, extensions.cursor, say)
            if isinstance(wanted, type):
                # A class of cursors is often made for one connection only; it goes with it.
                known: dict[type, type] = self.__dict__.setdefault("_otel_ratelimit_cursors", {})
                if len(known) >= _MAX_CLASSES:
                    known.clear()
                known[wanted] = made
            return made

        def poll(self) -> int:
            try:
                state: int = super().poll()
            except BaseException as error:
                poll_failed(self, error)
                raise
            polled(self, state)
            return state

        def commit(self) -> None:
            is_rollback = _status(self) == _IN_ERROR
            session = _settled(self)
            super().commit()
            _ended(self, session, is_rollback=is_rollback)

        def rollback(self) -> None:
            session = _settled(self)
            super().rollback()
            _ended(self, session, is_rollback=True)

        def tpc_commit(self, *args: Any) -> None:
            session = _settled(self)
            super().tpc_commit(*args)
            _ended(self, session, is_rollback=False)

        def tpc_rollback(self, *args: Any) -> None:
            session = _settled(self)
            super().tpc_rollback(*args)
            _ended(self, session, is_rollback=True)

        def set_isolation_level(self, level: int | None) -> None:
            session = _settled(self)
            super().set_isolation_level(level)  # which rolls back
            _ended(self, session, is_rollback=True)

        def set_client_encoding(self, encoding: str) -> None:
            with suppress(Exception):  # the first statement will see what is wrong, and say it
                if getattr(self, SESSION, None) is None:
                    setattr(self, SESSION, SessionState(self))
            session = _settled(self)
            super().set_client_encoding(encoding)  # which rolls back
            _ended(self, session, is_rollback=True)
            if session is not None:
                with suppress(InterfaceError):  # another thread has closed it
                    session.encoded(self.get_parameter_status("client_encoding") or encoding)

        def reset(self) -> None:
            super().reset()
            session: SessionState | None = getattr(self, SESSION, None)
            if session is not None:
                session.reset()

    return named_as(CapturingConnection, extensions.connection)


def _settled(connection: extensions.connection) -> SessionState | None:
    """What is known of a connection; None before its first statement.

    What was set outside of a transaction stays, whatever comes.
    """
    session: SessionState | None = getattr(connection, SESSION, None)
    if session is not None and _status(connection) == _IDLE:
        session.committed()
    return session


def _status(connection: extensions.connection) -> int | None:
    """Its `TRANSACTION_STATUS_*`; None where it is closed, which psycopg2 says to the application itself."""
    try:
        return connection.get_transaction_status()
    except InterfaceError:
        return None


def _ended(connection: extensions.connection, session: SessionState | None, *, is_rollback: bool) -> None:
    """A transaction has ended, unless psycopg2 left alone one that it did not begin."""
    if session is not None and _status(connection) == _IDLE:
        (session.rolled_back if is_rollback else session.committed)()


def below(wanted: Any, ours: type, psycopg2s: type, say: Say) -> Any:
    """`wanted` with `ours` between it and psycopg2's own class; itself where that cannot be.

    Args:
        wanted: a class of connections or cursors, or any callable that makes one.
        ours: what is to stand below it.
        psycopg2s: the class that both are made from.
        say: told where that cannot be, with a name and why.
    """
    if wanted is psycopg2s:
        return ours
    if isinstance(wanted, type) and issubclass(wanted, ours):
        return wanted
    if isinstance(wanted, type) and issubclass(wanted, psycopg2s):
        try:
            made = types.new_class(wanted.__name__, (wanted, ours))
        except Exception as error:  # noqa: BLE001 - of layouts that do not go together, or in the class's own hooks
            say(wanted.__qualname__, f"cannot be put below another class ({type(error).__name__})")
            return wanted
        made.__module__, made.__qualname__ = wanted.__module__, wanted.__qualname__
        return made
    say(getattr(wanted, "__qualname__", type(wanted).__qualname__), "is no class")
    return wanted
