"""Errors of our own code, logged once and without their message: it may quote a statement with its values."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType
from typing import Final, Self

_logger = logging.getLogger(__name__)

_MAX_FRAMES: Final = 8


class InternalErrors:
    """Errors of one kind. As a context manager it logs what is raised within, and goes on behind it.

    Args:
        consequence: what did not happen because of them, for the log.
    """

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self._is_logged = False

    def log(self, error: BaseException) -> None:
        """Log the first one: its class and its traceback, but not its message, which may quote values."""
        if self._is_logged:
            return
        self._is_logged = True
        where = "".join(traceback.format_tb(error.__traceback__)[-_MAX_FRAMES:])
        _logger.error(
            "%s (%s); further errors of this kind are not logged\n%s",
            self._consequence,
            type(error).__name__,
            where,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.log(error)
        return True
