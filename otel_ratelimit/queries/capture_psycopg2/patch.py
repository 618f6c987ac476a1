"""Puts the capture into psycopg2, and takes it out again.

`psycopg2.connect` is what OpenTelemetry and others wrap, and what applications import. Below all of them it
calls one function, which is replaced here. So it makes no difference who wrapped what first.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from functools import cache
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
_in_turn: Final = threading.RLock()
"""Held while psycopg2 is changed. A `Capture` can be collected, and so released, meanwhile."""


class Capture:
    """One user's part in the capture; psycopg2 is restored when the last user has released its part.

    Args:
        connect: what replaces psycopg2's function for all users; it counts this user already.
    """

    def __init__(self, connect: _Connect) -> None:
        self.target = connect.classes.target
        self._release = weakref.finalize(self, _release, connect)
        self._release.atexit = False

    def release(self) -> None:
        """End it; may be called twice."""
        self._release()


def capture() -> Capture | None:
    """Take part in the capture until it is released; None for an unsupported psycopg2."""
    with _in_turn:
        while (connect := _put_in_place()) is not None:
            connect.users += 1
            if _is_in_place(connect):
                return Capture(connect)
            connect.users -= 1  # the last other user was collected at this moment
        return None


def _release(connect: _Connect) -> None:
    with _in_turn:
        connect.users -= 1
        # Another may have been put in place since, by other code or after a `remove`.
        if not connect.users and _is_in_place(connect):
            remove()


def _is_in_place(connect: _Connect) -> bool:
    return getattr(psycopg2, _PATCHED, None) is connect


def prepare() -> CaptureTarget | None:
    """Make every connection that psycopg2 opens from now on report its queries.

    Returns:
        The target they are reported to, the same in all of the process; None for an unsupported psycopg2.
    """
    with _in_turn:
        connect = _put_in_place()
    return None if connect is None else connect.classes.target


def _put_in_place() -> _Connect | None:
    current = getattr(psycopg2, _PATCHED, None)
    if isinstance(current, _Connect):
        return current
    if current is None:
        _logger.warning("queries are not recorded: unsupported psycopg2 build, it has no psycopg2._connect")
        return None
    ours = _Connect(current)
    setattr(psycopg2, _PATCHED, ours)
    return ours


def remove() -> None:
    """Leave connections alone that are opened from now on, whichever parts use the capture.

    Where other code has replaced the function since, it stays as it is.
    """
    with _in_turn:
        current = getattr(psycopg2, _PATCHED, None)
        if isinstance(current, _Connect):
            current.classes.forget()
            setattr(psycopg2, _PATCHED, current.original)


class _Connect:
    """Replaces psycopg2's own `_connect`: it passes on a class of connections that is also ours."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.classes = _classes_of_process()
        self.users = 0

    def __call__(self, dsn: Any, connection_factory: Any = None, **options: Any) -> Any:
        return self.original(dsn, connection_factory=self.classes.of(connection_factory), **options)


class _Classes:
    """The classes of connections that report their queries, and the target they all report to.

    A pool keeps its connections when a capture ends, and their queries are reported to the next one. So all
    captures of a process use the same classes.
    """

    def __init__(self) -> None:
        self.target = CaptureTarget()
        self._warned: set[str] = set()
        self.reporter = ExecutionReporter(self.target, result_size_reader())
        self._ours = capturing_connection(
            capturing_cursor(self.reporter), capturing_async_cursor(self.reporter), self._warn_once
        )
        self._classes: dict[Any, Any] = {}

    def forget(self) -> None:
        """Let go of the observer, and of what belongs to the application."""
        self.target.observer = None
        self.reporter.plain.clear()
        self._warned.clear()
        self._classes.clear()

    def of(self, wanted: Any) -> Any:
        """The class of connections that reports, and is also `wanted`."""
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


@cache
def _classes_of_process() -> _Classes:
    """Made when they are first needed: it reads psycopg2's layout in memory."""
    return _Classes()
