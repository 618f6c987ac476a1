"""Where the plugin's log lines go, and from which level on.

Where the application has not set up logging, lines go to standard error, from INFO on: Python alone would
show warnings only, without a time. As soon as the application has handlers of its own for these lines, its
handlers write them, with the levels that it has chosen. That is checked for each line, because many
applications set up logging after they have made their Flask object.
"""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from typing import Final

from otel_ratelimit.core.settings import LOG_LEVELS
from otel_ratelimit.telemetry.logs.formats import formatter
from otel_ratelimit.telemetry.logs.otel_records import OtelRecordsHandler, is_of_opentelemetry, reached_by
from otel_ratelimit.telemetry.logs.safe_handler import SafeHandler

ROOT: Final = "otel_ratelimit"
"""The logger above all of the plugin's."""
_WITHDRAWN: Final = -1
"""A level below the level of every handler."""

_opening: Final = threading.RLock()
"""Re-entrant: a `LogOutput` may be garbage-collected anywhere, also while its thread holds this lock."""


class DefaultHandler(SafeHandler):
    """Writes to standard error the lines that no other handler would write.

    It is called before the handlers of the root logger. So it can withdraw a line that was logged only
    because the application had not chosen a level yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records = OtelRecordsHandler()
        """Exports the lines as OpenTelemetry log records."""
        self.users = 0
        self.is_level_held = False
        """Whether the logger's level is INFO because the application had not chosen one."""
        self.asked: int | None = None
        """The level that was requested last, by a user that still exists."""
        self._asks: list[int] = []
        self._former = logging.NOTSET
        """The level that the application had chosen before."""

    def write(self, record: logging.LogRecord) -> None:
        """Write `record`, unless another handler does."""
        reached = reached_by(record)
        others = [handler for handler in reached if _writes(handler)]
        if not others:
            self._write(record)
        elif not _is_servers(others):
            self._leave_level(record)
        elif not any(map(is_of_opentelemetry, reached)):
            self._write(record)
            record.levelno = _WITHDRAWN  # otherwise it would be written twice
        # Otherwise the server's handler writes it: a withdrawn line would not be exported either.

    def hold_level(self, asked: int | None) -> None:
        """Set the logger's level to `asked`; to INFO if neither `asked` nor the application gives one."""
        logger = logging.getLogger(ROOT)
        if asked is not None:
            if self.asked is None:
                self._former = logging.NOTSET if self.is_level_held else logger.level
            self._asks.append(asked)
            self.asked, self.is_level_held = asked, False
            logger.setLevel(asked)
        elif not self.is_level_held and self.asked is None and _is_nobodys(logger):
            self.is_level_held = True
            logger.setLevel(logging.INFO)

    def drop_level(self, asked: int) -> None:
        """Forget a requested level; the level of another user, or the former one, is in force again."""
        self._asks.remove(asked)
        logger = logging.getLogger(ROOT)
        if not self._asks:
            self.release_level()
            self.hold_level(None)
        elif logger.level == self.asked:
            self.asked = self._asks[-1]
            logger.setLevel(self.asked)

    def release_level(self) -> None:
        """Restore the logger's level, unless it was changed since."""
        logger = logging.getLogger(ROOT)
        ours = logging.INFO if self.is_level_held else self.asked
        if ours is not None and logger.level == ours:
            logger.setLevel(self._former)
        self.is_level_held, self.asked, self._former = False, None, logging.NOTSET

    def _leave_level(self, record: logging.LogRecord) -> None:
        if not self.is_level_held:
            return
        self.release_level()
        if record.levelno < logging.getLogger(record.name).getEffectiveLevel():
            record.levelno = _WITHDRAWN

    def _write(self, record: logging.LogRecord) -> None:
        # Looked up for each line: servers and tests replace it.
        if sys.stderr is not None:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class LogOutput:
    """One user of the plugin's handlers; they are removed with the last user."""

    def __init__(self, level: str, log_format: str) -> None:
        with _opening:
            handler = _default_handler() or _add_handlers()
            handler.users += 1
            asked = LOG_LEVELS[level] if level else None
            self._release = weakref.finalize(self, _release, handler, asked)
            self._release.atexit = False
            handler.hold_level(asked)
            if log_format:
                handler.setFormatter(formatter(log_format))

    def close(self) -> None:
        """Stop using the handlers; may be called twice."""
        self._release()


def open_output(level: str = "", log_format: str = "") -> LogOutput:
    """Write the plugin's log lines.

    Args:
        level: a key of `LOG_LEVELS`, whatever the application has chosen; empty: the application's choice.
        log_format: `text` or `json`, for lines on standard error; empty: unchanged, at first `text`.
    """
    return LogOutput(level, log_format)


def _default_handler() -> DefaultHandler | None:
    handlers = logging.getLogger(ROOT).handlers
    return next((handler for handler in handlers if isinstance(handler, DefaultHandler)), None)


def _add_handlers() -> DefaultHandler:
    logger = logging.getLogger(ROOT)
    handler = DefaultHandler()
    handler.setFormatter(formatter("text"))
    # The exporting handler first: the other one may withdraw a line.
    logger.addHandler(handler.records)
    logger.addHandler(handler)
    return handler


def _release(handler: DefaultHandler, asked: int | None) -> None:
    with _opening:
        handler.users -= 1
        if handler.users > 0:
            if asked is not None:
                handler.drop_level(asked)
            return
        handler.release_level()
        logger = logging.getLogger(ROOT)
        for each in (handler, handler.records):
            logger.removeHandler(each)
            each.close()


def _writes(handler: logging.Handler) -> bool:
    """Whether it is the application's handler, and writes lines."""
    return not (isinstance(handler, DefaultHandler | OtelRecordsHandler) or is_of_opentelemetry(handler))


def _is_nobodys(logger: logging.Logger) -> bool:
    """Whether the application has chosen neither handlers nor levels for the plugin's lines."""
    root = logging.getLogger()
    handlers = [handler for handler in (*logger.handlers, *root.handlers) if _writes(handler)]
    chosen = logger.level != logging.NOTSET or root.level != logging.WARNING
    return logger.propagate and not chosen and (not handlers or _is_servers(handlers))


def _is_servers(handlers: list[logging.Handler]) -> bool:
    """Whether `handlers` is the handler that waitress sets up by itself, not one of the application's."""
    if "waitress" not in sys.modules or len(handlers) != 1:
        return False
    [handler] = handlers
    root = logging.getLogger()
    return (
        type(handler) is logging.StreamHandler
        and handler in root.handlers
        and root.level == logging.WARNING
        and handler.stream is sys.stderr
        and handler.formatter is not None
        and handler.formatter._fmt == logging.BASIC_FORMAT  # noqa: SLF001 - there is no public attribute
    )
