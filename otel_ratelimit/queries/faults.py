"""Faults of our own, said once and without what they were about: that may be a statement with its values."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_log = logging.getLogger(__name__)

_MAX_FRAMES: Final = 8


class Faults:
    """Faults of one kind.

    Args:
        what: happened because of them, for the log.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_said = False

    def say(self, error: BaseException) -> None:
        """Log the first: its class and where it came from, not its message, which may quote values."""
        if self._is_said:
            return
        self._is_said = True
        where = "".join(traceback.format_tb(error.__traceback__)[-_MAX_FRAMES:])
        _log.error(
            "%s (%s); further faults of this kind are not logged\n%s", self._what, type(error).__name__, where
        )

    @contextmanager
    def said(self) -> Iterator[None]:
        """Say what is raised within, and go on behind it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - of whatever kind, its message may quote values
            self.say(error)
