"""The one background thread of a process, which runs periodic tasks and can be woken early.

The first task starts the thread. A forked child starts its own when it next needs one. The exit of the
process stops it. `wake` may be called from a signal handler, because it takes no lock.

Under gevent and eventlet the thread is a greenlet; `core.waiting` says what that requires.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import seconds_left
from otel_ratelimit.core.lifecycle import at_exit, at_fork
from otel_ratelimit.core.waiting import Bell, in_greenlet

_logger = logging.getLogger(__name__)

_MAX_WAKES = 64
_MAX_WAIT_SECONDS = 3600.0


@dataclass(slots=True)
class _Task:
    name: str
    interval: float
    run: Callable[[], object]
    due: float


class _Thread(threading.Thread):
    def _delete(self) -> None:
        # `threading` calls this at the end of a thread. A forked child has forgotten the parent's threads,
        # also one that is a greenlet and ends in the child.
        with contextlib.suppress(KeyError):
            super()._delete()  # type: ignore[misc]


class BackgroundWorker:
    """Runs named tasks, each every so many seconds, on one daemon thread.

    A task that raises is logged and runs again at its next turn.
    """

    def __init__(self, name: str = "otel-ratelimit", monotonic: Callable[[], float] = monotonic_time) -> None:
        self._name = name
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._tasks: dict[str, _Task] = {}
        self._woken: deque[str] = deque(maxlen=_MAX_WAKES)
        self._bell: Bell | None = None
        self._thread: threading.Thread | None = None
        self._is_starting = False
        self._survives_fork = False
        self._process = os.getpid()
        self._closed = False
        self._ends_at = math.inf
        at_fork(in_child=self.reset_after_fork)
        at_exit(self.close)

    @property
    def alive(self) -> bool:
        """Whether the thread runs in this process."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def every(self, interval: float, name: str, run: Callable[[], object], *, start: bool = True) -> None:
        """Run `run` every `interval` seconds from now on; a task of the same name is replaced.

        With `start` false, the next `ensure_started` starts the thread, for instance after a server has
        forked its workers.
        """
        with self._lock:
            self._tasks[name] = _Task(name, interval, run, self._monotonic() + interval)
        if start:
            self.ensure_started()
        self._ring()

    def cancel(self, name: str) -> None:
        """Forget the task; one that runs now is finished."""
        with self._lock:
            self._tasks.pop(name, None)

    def wake(self, name: str) -> None:
        """Run the task as soon as possible. Safe in a signal handler."""
        self._woken.append(name)
        self._ring()

    def ensure_started(self) -> None:
        """Start the thread unless it runs; cheap when it does. Never raises."""
        if self._process != os.getpid():  # uWSGI forks in C, where Python's hooks do not run
            self.reset_after_fork()
        if self.alive or self._closed or not self._tasks:
            return
        with self._lock:
            if self._is_starting or self.alive:
                return
            self._is_starting = True
            thread = self._thread = _Thread(target=self._loop, name=self._name, daemon=True)
            if self._bell is None:
                self._bell = Bell()
        try:
            # Waits until the thread runs, and under gevent lets others run meanwhile: so the lock is not
            # held.
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is going down
            self._thread = None
            _logger.warning("background thread not started (%s); trying again later", error)
        finally:
            self._is_starting = False

    def close(self, timeout: float = 5.0) -> None:
        """Stop the thread and wait for it, `timeout` seconds at most; may be called twice."""
        self._closed = True
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._ring()
            thread.join(seconds_left(timeout))
        if thread is not None and thread.is_alive():
            return  # the thread waits for something, and needs its bell afterwards
        self._thread = None
        if self._bell is not None:
            self._bell.close()

    def end_in(self, seconds: float) -> None:
        """Close once `seconds` have passed, without waiting. Safe in a finalizer: it takes no lock."""
        self._ends_at = self._monotonic() + seconds
        if not self.alive:
            self._closed, self._tasks = True, {}
        self._ring()

    def _loop(self) -> None:
        bell, process = self._bell, os.getpid()
        self._survives_fork = in_greenlet()
        while bell is not None:
            if not self._woken:
                bell.wait(self._seconds_to_next())
            if process != os.getpid():
                bell.close()  # this greenlet lives on in a forked child, which has another loop
                return
            if self._monotonic() >= self._ends_at:
                self._closed, self._tasks = True, {}  # tasks may lead to what should be collected now
            if self._closed:
                return
            for task in self._due(self._take_woken()):
                try:
                    task.run()
                except Exception:
                    _logger.exception("task %s failed; it runs again in %.0f s", task.name, task.interval)

    def _seconds_to_next(self) -> float:
        with self._lock:
            due = min((task.due for task in self._tasks.values()), default=math.inf)
        now = self._monotonic()
        return min(_MAX_WAIT_SECONDS, max(0.0, min(due, self._ends_at) - now))

    def _take_woken(self) -> set[str]:
        names = set()
        while self._woken:
            names.add(self._woken.popleft())
        return names

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    def _due(self, woken: set[str]) -> list[_Task]:
        now = self._monotonic()
        with self._lock:
            ready = [task for task in self._tasks.values() if task.due <= now or task.name in woken]
            # Scheduled again before it runs, so that a failure cannot end it.
            for task in ready:
                task.due = now + task.interval
        return ready

    def reset_after_fork(self) -> None:
        """Start again in a forked child, where the thread is gone and the lock may be held."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread = None
        self._is_starting = False
        self._woken.clear()
        bell, self._bell = self._bell, None
        # A greenlet lives on and waits for the descriptor: its number must not be given to another file.
        if bell is not None and not self._survives_fork:
            bell.close()
