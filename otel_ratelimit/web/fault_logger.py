"""Logs faults that may come with every request: in full the first time, at debug after that."""

from __future__ import annotations

import logging
import sys

_logger = logging.getLogger(__name__)


class FaultLogger:
    """Like a logger's `exception`, for faults of our code or the application's; without a flood."""

    def __init__(self) -> None:
        self._known: set[tuple[str, type[BaseException]]] = set()

    def exception(self, what: str, *args: object) -> None:
        """Log that `what % args` failed; called where the exception is handled."""
        error = sys.exc_info()[1]
        if error is not None:
            self.failed(what % args, error)

    def failed(self, what: str, error: BaseException) -> None:
        """Log that `what` failed with this error."""
        kind = (what, type(error))
        if kind in self._known:
            _logger.debug("%s failed again: %r", what, error)
            return
        self._known.add(kind)
        _logger.error("%s failed; further failures of this kind are logged at debug", what, exc_info=error)
