"""Puts the capture into psycopg2, and takes it out again.

`psycopg2.connect` is what OpenTelemetry and others wrap, and what applications import. Below all of them it
calls one function, which is replaced here. So it makes no difference who wrapped what first.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

from otel_ratelimit.queries.capture_psycopg2.async_cursors import capturing_async_cursor
from otel_ratelimit.queries.capture_psycopg2.capture_target import CaptureTarget
from otel_ratelimit.queries.capture_psycopg2.class_below import class_below
from otel_ratelimit.queries.capture_psycopg2.connections import capturing_connection
from otel_ratelimit.queries.capture_psycopg2.cursors import capturing_cursor
from otel_ratelimit.queries.capture_psycopg2.execution_reporter import ExecutionReporter
from otel_ratelimit.queries.capture_psycopg2.result_size import result_size_reader

_logger = logging.getLogger(__name__)

_PATCHED: Final = "_connect"
"""The function of psycopg2 that is replaced."""
_MAX_CLASSES: Final = 64


class Capture:
    """One user's part in the capture; psycopg2 is restored when the last user has released its part.

    Args:
        connect: what replaces psycopg2's function for all users.
    """

    def __init__(self, connect: _Connect) -> None:
        self.target = connect.target
        connect.users += 1
        self._release = weakref.finalize(self, _release, connect)
        self._release.atexit = False

    def release(self) -> None:
        """End it; may be called twice."""
        self._release()


def capture() -> Capture | None:
    """Take part in the capture until it is released; None for an unsupported psycopg2."""
    if prepare() is None:
        return None
    connect: _Connect = getattr(psycopg2, _PATCHED)
    return Capture(connect)


def _release(connect: _Connect) -> None:
    connect.users -= 1
    # Another may have been put in place since, by other code or after a `remove`.
    if not connect.users and getattr(psycopg2, _PATCHED, None) is connect:
        remove()


def prepare() -> CaptureTarget | None:
    """Make every connection that psycopg2 opens from now on report its queries.

    Returns:
        The target they are reported to, the same in all of the process; None for an unsupported psycopg2.
    """
    current = getattr(psycopg2, _PATCHED, None)
    if isinstance(current, _Connect):
        return current.target
    if current is None:
        _logger.warning("queries are not recorded: unsupported psycopg2 build, it has no psycopg2._connect")
        return None
    ours = _Connect(current)
    setattr(psycopg2, _PATCHED, ours)
    return ours.target


def remove() -> None:
    """Leave connections alone that are opened from now on, whichever parts use the capture.

    Where other code has replaced the function since, it stays as it is.
    """
    current = getattr(psycopg2, _PATCHED, None)
    if isinstance(current, _Connect):
        current.target.observer = None
        setattr(psycopg2, _PATCHED, current.original)


class _Connect:
    """Replaces psycopg2's own `_connect`: it passes on a class of connections that is also ours."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.target = CaptureTarget()
        self.users = 0
        self._warned: set[str] = set()
        self.reporter = ExecutionReporter(self.target, result_size_reader())
        self._ours = capturing_connection(
            capturing_cursor(self.reporter), capturing_async_cursor(self.reporter), self._warn_once
        )
        self._classes: dict[Any, Any] = {extensions.connection: self._ours}

    def __call__(self, dsn: Any, connection_factory: Any = None, **options: Any) -> Any:
        return self.original(dsn, connection_factory=self._class_of(connection_factory), **options)

    def _class_of(self, wanted: Any) -> Any:
        wanted = wanted or extensions.connection
        try:
            return self._classes[wanted]
        except (KeyError, TypeError):
            made = class_below(wanted, self._ours, extensions.connection, self._warn_once)
        if isinstance(wanted, type) and len(self._classes) < _MAX_CLASSES:
            self._classes[wanted] = made
        return made

    def _warn_once(self, name: str, why: str) -> None:
        if name not in self._warned and len(self._warned) < _MAX_CLASSES:
            self._warned.add(name)
            _logger.warning("queries through %s are not recorded: it %s", name, why)
