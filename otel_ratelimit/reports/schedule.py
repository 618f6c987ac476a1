"""When reports are made: missed ones at once, then every night, and again after a pause if that failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, tzinfo
from queue import SimpleQueue
from typing import Any, Final

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger

_logger = logging.getLogger(__name__)

RETRY: Final = timedelta(minutes=10)
_NIGHTLY: Final = "nightly"
_AGAIN: Final = "again"
_DAY: Final = timedelta(days=1)


class EveryDayAt(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Once a day at a local time, on every day.

    APScheduler's own cron trigger leaves out a day on which the clocks skip that time, and fires twice on a
    day on which it occurs twice. This one takes the moment after it in the first case, and the first one in
    the second case.

    Args:
        at: time of the day.
        zone: of that time.
    """

    def __init__(self, at: time, zone: tzinfo) -> None:
        self._at = at
        self._zone = zone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next one after `previous_fire_time`; without that, the first one not before `now`."""
        first = now.astimezone(self._zone).date() - _DAY
        fires = (self._on(first + place * _DAY) for place in range(4))
        if previous_fire_time is not None:
            return next(fire for fire in fires if fire > max(previous_fire_time, now - _DAY))
        return next(fire for fire in fires if fire >= now)

    def _on(self, day: Any) -> datetime:
        # Through UTC, where a time that the clocks skip exists.
        moment = datetime.combine(day, self._at, self._zone).astimezone(UTC)
        return moment.astimezone(self._zone)


class Schedule:
    """Does the work at once and then every night, until it is stopped.

    Args:
        work: returns whether everything is done; if not, or if it raises, it is tried again after `retry`.
        at: time of the day.
        zone: of that time.
        tell: called with the time of the next run, in a sentence.
        retry: pause before the next attempt.
    """

    def __init__(
        self,
        work: Callable[[], bool],
        at: time,
        zone: tzinfo,
        *,
        tell: Callable[[str], None],
        retry: timedelta = RETRY,
    ) -> None:
        self._work = work
        self._tell = tell
        self._retry = retry
        self._zone = zone
        # Its `put` is safe in a signal handler, whatever that interrupts.
        self._stops: SimpleQueue[None] = SimpleQueue()
        self._at_work = threading.Lock()
        self._is_stopped = False
        self._scheduler = BackgroundScheduler(timezone=zone)
        # A late run still happens, and one is enough: it makes all reports that were missed.
        once = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        self._scheduler.add_job(self._run, EveryDayAt(at, zone), id=_NIGHTLY, **once)
        self._scheduler.add_job(self._run, DateTrigger(datetime.now(UTC)), id=_AGAIN, **once)

    def run(self) -> None:
        """Run until `stop` is called and the current work is done."""
        self._scheduler.start()
        self._stops.get()
        self._is_stopped = True
        # APScheduler would wait for the work while it holds a lock that the work needs.
        with self._at_work:
            # Nor can it be stopped while it looks for due jobs; `_at_work` prevents that.
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=False)

    def stop(self) -> None:
        """Start no more work; may be called from any thread or signal handler, and several times."""
        self._stops.put(None)

    def _run(self) -> None:
        with self._at_work:
            if self._is_stopped:
                return
            is_done = False
            try:
                is_done = self._work()
            finally:
                if not self._is_stopped:
                    self._say_when(is_done)

    def _say_when(self, is_done: bool) -> None:
        if is_done:
            next_run = self._scheduler.get_job(_NIGHTLY).next_run_time
            self._tell(f"next run at {next_run:%Y-%m-%d %H:%M %Z}")
            return
        at = datetime.now(UTC) + self._retry
        self._tell(f"the run is incomplete; next attempt at {at.astimezone(self._zone):%H:%M:%S %Z}")
        # A second instance, because this one has not ended yet.
        again = {"replace_existing": True, "max_instances": 2, "misfire_grace_time": None}
        self._scheduler.add_job(self._run, DateTrigger(at), id=_AGAIN, **again)
