"""The database's clock, which decides what is old: a host's clock may be wrong, and there are many hosts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from otel_ratelimit.core.clock import unix_time
from otel_ratelimit.core.sentences import length_of_time
from otel_ratelimit.postgres.connection import Database
from otel_ratelimit.postgres.sql_files import statements

_logger = logging.getLogger(__name__)

TOLERANCE: Final = timedelta(minutes=5)
"""The allowed difference between the clocks of a host and of the database."""


def database_time(database: Database) -> float:
    """Unix time of the clock of `database`, seconds.

    Raises:
        DatabaseError: the database does not answer.
    """
    [(now,)] = database.rows(statements("maintenance")["clock"])
    return float(now.timestamp())


class DatabaseClock:
    """Unix time of the clock of a database, seconds; reports once if this host's clock differs.

    Args:
        database: the database.
        tell: called with the report, a sentence.
        host_clock: Unix time of the clock of this host, seconds.
    """

    def __init__(
        self, database: Database, tell: Callable[[str], None], host_clock: Callable[[], float] = unix_time
    ) -> None:
        self._database = database
        self._tell = tell
        self._host_clock = host_clock
        self._is_said = False

    def __call__(self) -> float:
        """The time.

        Raises:
            DatabaseError: the database does not answer.
        """
        now, host = database_time(self._database), self._host_clock()
        if abs(now - host) > TOLERANCE.total_seconds() and not self._is_said:
            self._is_said = True
            self._tell(
                f"the clock of this host says {_moment(host)} and that of the database {_moment(now)};"
                " days are those of the database"
            )
        return now


def apart(difference: timedelta) -> str:
    """The size of `difference` in words: `40 days 12 seconds`."""
    return length_of_time(abs(difference.total_seconds()))


class ClockWarning:
    """Logs once that rows are stamped with the database's time, and once that they no longer are.

    Args:
        what: the kind of rows: `analytics`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._was_apart = False

    def shifted(self, host: float, seconds: float) -> None:
        """Note the shift of the times in a batch; 0 if the clocks agree.

        Args:
            host: Unix time of the clock of this host, seconds.
            seconds: how far the database's clock is ahead of it.
        """
        if bool(seconds) is self._was_apart:
            return
        self._was_apart = bool(seconds)
        if not seconds:
            _logger.warning("the clocks of this host and of the database agree again (%s)", self._what)
            return
        _logger.warning(
            "the clock of this host says %s and that of the database %s, %s apart: %s are written with the"
            " database's time; correct the wrong clock",
            _moment(host),
            _moment(host + seconds),
            apart(timedelta(seconds=seconds)),
            self._what,
        )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"
