"""Connections whose cursors report what they execute, whatever class of cursors is asked for.

psycopg2 takes a class of connections and one of cursors, and each `cursor(cursor_factory=...)` can name
another class of cursors, past OpenTelemetry, which sets its own once. So the connection decides: one of our
classes stands below every class that the application or OpenTelemetry asks for.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, Final

from psycopg2 import InterfaceError, extensions

from otel_ratelimit.queries.capture_psycopg2.async_cursors import poll_failed, polled
from otel_ratelimit.queries.capture_psycopg2.class_below import Warn, class_below
from otel_ratelimit.queries.capture_psycopg2.cursors import named_as
from otel_ratelimit.queries.capture_psycopg2.execution_reporter import SESSION
from otel_ratelimit.queries.capture_psycopg2.session_state import SessionState

_IDLE: Final = extensions.TRANSACTION_STATUS_IDLE
_IN_ERROR: Final = extensions.TRANSACTION_STATUS_INERROR
_MAX_CLASSES: Final = 64
"""Classes of cursors that a connection remembers; some applications make one for each cursor."""


class CapturingConnection(extensions.connection):
    """Gives every cursor one of our classes, and follows the session; see `capturing_connection`.

    There is no `__init__`: some classes of connections do not call the next one's.
    """

    otel_ratelimit_cursor_class: ClassVar[type[extensions.cursor]]
    otel_ratelimit_async_cursor_class: ClassVar[type[extensions.cursor]]
    otel_ratelimit_warn: staticmethod[[str, str], None]
    otel_ratelimit_pending: Any = None
    _otel_ratelimit_cursors: dict[type, type]

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor of the class asked for, which reports what it executes."""
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
        ours = self.otel_ratelimit_async_cursor_class if self.async_ else self.otel_ratelimit_cursor_class
        made = class_below(wanted, ours, extensions.cursor, self.otel_ratelimit_warn)
        if isinstance(wanted, type):
            # A class of cursors is often made for one connection only; it is forgotten with the connection.
            known: dict[type, type] = self.__dict__.setdefault("_otel_ratelimit_cursors", {})
            if len(known) >= _MAX_CLASSES:
                known.clear()
            known[wanted] = made
        return made

    def poll(self) -> int:
        """Poll, and report the execution that has ended."""
        try:
            state: int = super().poll()
        except BaseException as error:
            poll_failed(self, error)
            raise
        polled(self, state)
        return state

    def commit(self) -> None:
        """Commit, and follow the session."""
        is_rollback = _status(self) == _IN_ERROR
        session = _settled(self)
        super().commit()
        _ended(self, session, is_rollback=is_rollback)

    def rollback(self) -> None:
        """Roll back, and follow the session."""
        session = _settled(self)
        super().rollback()
        _ended(self, session, is_rollback=True)

    def tpc_commit(self, *args: Any) -> None:
        """Commit, and follow the session."""
        session = _settled(self)
        super().tpc_commit(*args)
        _ended(self, session, is_rollback=False)

    def tpc_rollback(self, *args: Any) -> None:
        """Roll back, and follow the session."""
        session = _settled(self)
        super().tpc_rollback(*args)
        _ended(self, session, is_rollback=True)

    def set_isolation_level(self, level: int | None) -> None:
        """Set the level, which rolls back, and follow the session."""
        session = _settled(self)
        super().set_isolation_level(level)
        _ended(self, session, is_rollback=True)

    def set_client_encoding(self, encoding: str) -> None:
        """Set the encoding, which rolls back, and follow the session."""
        with suppress(Exception):  # the first statement will meet the same error, and log it
            if getattr(self, SESSION, None) is None:
                setattr(self, SESSION, SessionState(self))
        session = _settled(self)
        super().set_client_encoding(encoding)
        _ended(self, session, is_rollback=True)
        if session is not None:
            with suppress(InterfaceError):  # another thread has closed the connection
                session.encoded(self.get_parameter_status("client_encoding") or encoding)

    def reset(self) -> None:
        """Reset, and follow the session."""
        super().reset()
        session: SessionState | None = getattr(self, SESSION, None)
        if session is not None:
            session.reset()


def capturing_connection(
    cursor_class: type[extensions.cursor], async_cursor_class: type[extensions.cursor], warn: Warn
) -> type[extensions.connection]:
    """The class of connections whose cursors are `cursor_class`, below the class that is asked for.

    Args:
        cursor_class: below the cursors of synchronous connections.
        async_cursor_class: below the cursors of asynchronous connections.
        warn: called where a class of cursors cannot be captured.
    """
    ours = type(
        "CapturingConnection",
        (CapturingConnection,),
        {
            "otel_ratelimit_cursor_class": cursor_class,
            "otel_ratelimit_async_cursor_class": async_cursor_class,
            "otel_ratelimit_warn": staticmethod(warn),
        },
    )
    return named_as(ours, extensions.connection)


def _settled(connection: extensions.connection) -> SessionState | None:
    """The state of a connection; None before its first statement.

    Values set outside of a transaction stay, whatever happens later.
    """
    session: SessionState | None = getattr(connection, SESSION, None)
    if session is not None and _status(connection) == _IDLE:
        session.committed()
    return session


def _status(connection: extensions.connection) -> int | None:
    """Its `TRANSACTION_STATUS_*`; None if it is closed: psycopg2 tells the application itself."""
    try:
        return connection.get_transaction_status()
    except InterfaceError:
        return None


def _ended(connection: extensions.connection, session: SessionState | None, *, is_rollback: bool) -> None:
    """A transaction has ended, unless psycopg2 left one alone that it did not begin."""
    if session is not None and _status(connection) == _IDLE:
        (session.rolled_back if is_rollback else session.committed)()
