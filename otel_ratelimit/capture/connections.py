"""Connections whose cursors tell of what they execute, whatever class of cursor is asked for.

psycopg2 takes a class of connection and one of cursor, and a cursor's class can be given anew with each
`cursor(cursor_factory=...)`, past OpenTelemetry, which gives its own once. So the connection decides: below
every class that the application or OpenTelemetry gives there is one of ours.
"""

from __future__ import annotations

import logging
import types
from typing import Any, Final

from psycopg2 import extensions

from otel_ratelimit.capture.cursors import SESSION
from otel_ratelimit.capture.session import SessionState

_log = logging.getLogger(__name__)

_IN_ERROR: Final = extensions.TRANSACTION_STATUS_INERROR
_MOST_CLASSES: Final = 64
"""Classes of cursors that a connection remembers; some applications make one for each cursor."""


def capturing_connection(  # noqa: C901 - a class, whose methods count here
    cursor_class: type[extensions.cursor],
) -> type[extensions.connection]:
    """The class of connections whose cursors are `cursor_class`, below whatever else they are."""

    class CapturingConnection(extensions.connection):
        # There is no __init__: some classes of connections do not call the next one's.
        _otel_ratelimit_cursors: dict[type, type]

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
            made = below(wanted, cursor_class, extensions.cursor)
            if isinstance(wanted, type):
                # A class of cursors is often made for one connection only; it goes with it.
                known: dict[type, type] = self.__dict__.setdefault("_otel_ratelimit_cursors", {})
                if len(known) >= _MOST_CLASSES:
                    known.clear()
                known[wanted] = made
            return made

        def commit(self) -> None:
            is_rollback = self.get_transaction_status() == _IN_ERROR
            super().commit()
            session = _session(self)
            if session is not None:
                (session.rolled_back if is_rollback else session.committed)()

        def rollback(self) -> None:
            super().rollback()
            session = _session(self)
            if session is not None:
                session.rolled_back()

        def reset(self) -> None:
            super().reset()
            session = _session(self)
            if session is not None:
                session.reset()

    return CapturingConnection


def _session(connection: extensions.connection) -> SessionState | None:
    """What is known of a connection; None before its first statement."""
    return getattr(connection, SESSION, None)


def below(wanted: Any, ours: type, psycopg2s: type) -> Any:
    """`wanted` with `ours` between it and psycopg2's own class; itself where that cannot be.

    Args:
        wanted: a class of connections or cursors, or any callable that makes one.
        ours: what is to stand below it.
        psycopg2s: the class that both are made from.
    """
    if wanted is psycopg2s:
        return ours
    if isinstance(wanted, type) and issubclass(wanted, ours):
        return wanted
    if isinstance(wanted, type) and issubclass(wanted, psycopg2s):
        try:
            made = types.new_class(wanted.__name__, (wanted, ours))
        except Exception as error:  # noqa: BLE001 - of layouts that do not go together, or in the class's own hooks
            _log.warning("queries through %s are not recorded: %s", wanted, error)
            return wanted
        made.__module__, made.__qualname__ = wanted.__module__, wanted.__qualname__
        return made
    _log.warning("queries through what %s makes are not recorded: it is not a class", wanted)
    return wanted
