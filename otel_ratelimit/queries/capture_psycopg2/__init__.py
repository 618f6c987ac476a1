"""What the application's queries are, as psycopg2 runs them.

This is the one part that is about a driver: it tells a `QueryObserver` of executions, as the capture of
another driver would.

connections, cursors   classes that stand between psycopg2's own and the application's
asynchronous           the same for connections whose queries end when they are polled
session                what of a connection decides on a query's answer
answers                what came back, and how large it is
relay                  who is told

`psycopg2.connect` is what OpenTelemetry and others wrap, and what applications import; beneath all of them it
calls one function, which is replaced here. So it makes no difference who wrapped what first.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.queries.capture_psycopg2.answers import answer_reader
from otel_ratelimit.queries.capture_psycopg2.asynchronous import capturing_async_cursor
from otel_ratelimit.queries.capture_psycopg2.connections import below, capturing_connection
from otel_ratelimit.queries.capture_psycopg2.cursors import Watch, capturing_cursor, named_as
from otel_ratelimit.queries.capture_psycopg2.relay import Relay

__all__ = ["Capture", "Relay", "capture", "prepare", "remove"]

_log = logging.getLogger(__name__)

_MAX_CLASSES = 64


class Capture:
    """One user's part in the capture; psycopg2 is left as it was when the last user has released its part.

    Args:
        connect: what stands in psycopg2 for all of them.
    """

    def __init__(self, connect: _Connect) -> None:
        self.relay = connect.relay
        connect.users += 1
        self._release = weakref.finalize(self, _release, connect)
        self._release.atexit = False

    def release(self) -> None:
        """End it; may be called twice."""
        self._release()


def capture() -> Capture | None:
    """Take part in the capture, as `prepare`, until it is released; None where `prepare` gives None."""
    if prepare() is None:
        return None
    connect: _Connect = psycopg2._connect  # type: ignore[attr-defined]  # noqa: SLF001 - see the module
    return Capture(connect)


def _release(connect: _Connect) -> None:
    connect.users -= 1
    # Another may have been put in place since, by somebody else or after a `remove`.
    if not connect.users and getattr(psycopg2, "_connect", None) is connect:
        remove()


def prepare() -> Relay | None:
    """Make every connection that psycopg2 opens from now on tell of its queries.

    Returns:
        The process's relay, the same each time; None where this psycopg2 cannot be made to tell.
    """
    current = getattr(psycopg2, "_connect", None)
    if isinstance(current, _Connect):
        return current.relay
    if current is None:
        _log.warning("queries are not recorded: this psycopg2 is made in a way that is not known here")
        return None
    ours = _Connect(current)
    psycopg2._connect = ours  # type: ignore[attr-defined]  # noqa: SLF001 - see the module
    return ours.relay


def remove() -> None:
    """Leave the connections that are opened from now on alone, whoever takes part in the capture.

    Does nothing where somebody has replaced that function since.
    """
    current = getattr(psycopg2, "_connect", None)
    if isinstance(current, _Connect):
        current.relay.target = None
        psycopg2._connect = current.original  # type: ignore[attr-defined]  # noqa: SLF001 - see the module


class _Connect:
    """Stands for psycopg2's own `_connect`, and gives it a class of connections that is also ours."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.relay = Relay()
        self.users = 0
        self._said: set[str] = set()
        self.watch = Watch(self.relay, answer_reader())
        in_turn = named_as(capturing_async_cursor(self.watch), extensions.cursor)
        ours = capturing_connection(capturing_cursor(self.watch), in_turn, self._say_once)
        self._ours = ours
        self._classes: dict[Any, Any] = {extensions.connection: ours}

    def __call__(self, dsn: Any, connection_factory: Any = None, **options: Any) -> Any:
        return self.original(dsn, connection_factory=self._class_of(connection_factory), **options)

    def _class_of(self, wanted: Any) -> Any:
        wanted = wanted or extensions.connection
        try:
            return self._classes[wanted]
        except (KeyError, TypeError):
            made = below(wanted, self._ours, extensions.connection, self._say_once)
        if isinstance(wanted, type) and len(self._classes) < _MAX_CLASSES:
            self._classes[wanted] = made
        return made

    def _say_once(self, name: str, why: str) -> None:
        if name not in self._said and len(self._said) < _MAX_CLASSES:
            self._said.add(name)
            _log.warning("queries through %s are not recorded: it %s", name, why)
