"""Fork and the end of the process: what each object that is still alive does there.

Python keeps what it calls at a fork or at the exit, for as long as the process lives. So this module is the
only one that registers such calls. It holds the steps of objects weakly: a step goes with its object.

Steps at a fork are called through one hook, which is registered once, because Python cannot take a hook back.
Steps at the exit are registered one by one, so that they come in turn with those of other libraries: counts
are flushed before an OpenTelemetry provider that was made earlier shuts down.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import weakref
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, Final, TypeAlias

from otel_ratelimit.core.clock import monotonic_time
from otel_ratelimit.core.deadline import seconds_left, within

_logger = logging.getLogger(__name__)

EXIT_SECONDS: Final = 5.0
"""How long the end of the process waits for all steps together. Docker kills ten seconds after it asks."""
SHARE: Final = 0.5
"""The part of what is left of a deadline that one step may use, so that there is time for the next ones."""

Step: TypeAlias = Callable[[], object]
"""A bound method: the step of its object."""


def while_alive(step: Step) -> Callable[[], None]:
    """A function that calls `step` for as long as its object lives, and does not keep the object alive."""
    reference = _reference(step)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call


def _reference(step: Step, gone: Callable[[object], object] | None = None) -> Callable[[], Step | None]:
    """As `weakref.WeakMethod`, whose own callback fails when the interpreter goes down."""
    method: Any = step
    owner, function = weakref.ref(method.__self__, gone), method.__func__

    def bound() -> Step | None:
        alive = owner()
        return None if alive is None else MethodType(function, alive)

    return bound


class ExitSteps:
    """Steps at the end of a process, the last one added first, within one deadline.

    Args:
        seconds: for all of them, counted from the first.
    """

    def __init__(self, seconds: float = EXIT_SECONDS) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    def add(self, step: Step) -> None:
        """Call `step` at the end of the process, unless its object has gone by then."""
        unregister = (
            atexit.unregister
        )  # when the interpreter goes down, the name may be gone before the object
        reference = _reference(step, lambda _gone: unregister(run))

        def run() -> None:
            alive = reference()
            if alive is not None:
                self.take(alive)

        atexit.register(run)

    def take(self, step: Step) -> None:
        """Take a step now, in its share of the time that is left."""
        if self._ends is None:
            self._ends = monotonic_time() + self._seconds
        with within(self._ends - monotonic_time()), within(share_of_the_rest()):
            step()


def share_of_the_rest() -> float:
    """Seconds that one of several steps may take."""
    return SHARE * seconds_left()


class ForkSteps:
    """Steps at a fork: those before it in reverse order, the others in the order in which they were added.

    A step that raises is logged, and the others are taken all the same.
    """

    def __init__(self) -> None:
        self._before = _LivingSteps()
        self._in_parent = _LivingSteps()
        self._in_child = _LivingSteps()

    def add(self, *, in_child: Step, before: Step | None = None, in_parent: Step | None = None) -> None:
        """Take these steps at each fork, unless their object has gone by then.

        Args:
            in_child: after the fork, in the child.
            before: in the parent, before the fork.
            in_parent: after the fork, in the parent.
        """
        self._in_child.add(in_child)
        if before is not None:
            self._before.add(before)
        if in_parent is not None:
            self._in_parent.add(in_parent)

    def register(self) -> None:
        """Have Python call the steps from now on; once in a process."""
        os.register_at_fork(before=self.before, after_in_parent=self.in_parent, after_in_child=self.in_child)

    def before(self) -> None:
        """Take the steps before a fork."""
        _take(reversed(self._before.alive()))

    def in_parent(self) -> None:
        """Take the steps after a fork, in the parent."""
        _take(self._in_parent.alive())

    def in_child(self) -> None:
        """Take the steps after a fork, in the child."""
        _take(self._in_child.alive())


class _LivingSteps:
    def __init__(self) -> None:
        self._steps: dict[int, Callable[[], Step | None]] = {}
        self._numbers = itertools.count()

    def add(self, step: Step) -> None:
        number = next(self._numbers)
        self._steps[number] = _reference(step, lambda _gone: self._steps.pop(number, None))

    def alive(self) -> list[Step]:
        # `list` first: another thread may add one, and an object may go at any moment.
        found = [reference() for reference in list(self._steps.values())]
        return [step for step in found if step is not None]


def _take(steps: Iterable[Step]) -> None:
    for step in steps:
        try:
            step()
        except Exception:
            _logger.exception("a step at a fork failed: %r", step)


_EXIT: Final = ExitSteps()
at_exit = _EXIT.add

_FORK: Final = ForkSteps()
_FORK.register()
at_fork = _FORK.add
