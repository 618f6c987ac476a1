"""The base of our log handlers."""

from __future__ import annotations

import logging
from abc import abstractmethod


class SafeHandler(logging.Handler):
    """A handler whose failures are handled as `logging` does it, and never reach the code that logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        try:
            self.write(record)
        except Exception:  # noqa: BLE001 - as every handler of `logging`
            self.handleError(record)

    @abstractmethod
    def write(self, record: logging.LogRecord) -> None:
        """Write `record`; may raise."""
