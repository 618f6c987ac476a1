"""Connections whose cursors tell of what they execute, whatever class of cursor is asked for.

psycopg2 takes a class of connection and one of cursor, and a cursor's class can be given anew with each
`cursor(cursor_factory=...)`, past OpenTelemetry, which gives its own once. So the connection decides: below
every class that the application or OpenTelemetry gives there is one of ours.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from psycopg2 import extensions

from otel_ratelimit.capture.cursors import SESSION
from otel_ratelimit.capture.session import SessionState

_log = logging.getLogger(__name__)

_IN_ERROR: Final = extensions.TRANSACTION_STATUS_INERROR


def capturing_connection(  # noqa: C901 - a class, whose methods count here
    cursor_class: type[extensions.cursor],
) -> type[extensions.connection]:
    """The class of connections whose cursors are `cursor_class`, below whatever else they are."""

    class CapturingConnection(extensions.connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            setattr(self, SESSION, SessionState(self))
            # A class of cursors is often made for one connection only; it goes with it.
            self._otel_ratelimit_cursors: dict[type, type] = {}

        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            given = args[1] if len(args) > 1 else kwargs.get("cursor_factory")
            default: Any = self.cursor_factory
            wanted: Any = given or default or extensions.cursor
            try:
                factory = self._otel_ratelimit_cursors[wanted]
            except (KeyError, TypeError):
                factory = self._otel_ratelimit_cursor(wanted)
            if len(args) > 1:
                args = (args[0], factory, *args[2:])
            else:
                kwargs["cursor_factory"] = factory
            return super().cursor(*args, **kwargs)

        def _otel_ratelimit_cursor(self, wanted: Any) -> Any:
            made = below(wanted, cursor_class, extensions.cursor)
            if isinstance(wanted, type):
                self._otel_ratelimit_cursors[wanted] = made
            return made

        def commit(self) -> None:
            is_rollback = self.get_transaction_status() == _IN_ERROR
            super().commit()
            session: SessionState = getattr(self, SESSION)
            if is_rollback:
                session.rolled_back()
            else:
                session.committed()

        def rollback(self) -> None:
            super().rollback()
            getattr(self, SESSION).rolled_back()

        def reset(self) -> None:
            super().reset()
            getattr(self, SESSION).reset()

    return CapturingConnection


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
            return type(wanted.__name__, (wanted, ours), {"__module__": wanted.__module__})
        except TypeError as error:  # two classes whose instances cannot be laid out together
            _log.warning("queries through %s are not recorded: %s", wanted, error)
            return wanted
    _log.warning("queries through what %s makes are not recorded: it is not a class", wanted)
    return wanted
