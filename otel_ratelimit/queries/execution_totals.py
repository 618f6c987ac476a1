"""How often each template runs. Every execution counts, and costs one step of a counter.

A known text has a counter, which is stepped without a lock: one step of `itertools.count` is one indivisible
operation. An unknown text goes to the background thread, which counts it, and makes it known when it comes
again: an application that writes values into its SQL never sends the same text twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from otel_ratelimit.queries.records import QueryTemplate, TemplateTotal

MAX_KNOWN: Final = 4_096
MAX_NEW: Final = 20_000
"""Unknown texts that wait for the background thread; further ones count for `OTHER`."""
MAX_KNOWN_CHARACTERS: Final = 20_000
_MAX_ONCE: Final = 8_192
OTHER: Final = QueryTemplate(0, "<other>", "other", (), is_write=False, volatile=False)
"""Stands for texts for which there was no room."""

Text = tuple[str, str]
"""A text and its database."""

_OTHER_TEXT: Final[Text] = (OTHER.text, "")


class _Counter:
    """Stepped on any thread, read by one thread."""

    __slots__ = ("_reads", "_taken", "step")

    def __init__(self) -> None:
        self.step = count().__next__
        self._reads = 0
        self._taken = 0

    def take(self) -> int:
        """Steps since the last time."""
        # Reading the counter steps it as well.
        steps = self.step() - self._reads
        self._reads += 1
        new, self._taken = steps - self._taken, steps
        return new


class _EarlierMinutes:
    """Executions that are counted now and started in an earlier minute; `take` on one thread, `add` on any.

    Each is announced just before it is counted, so that it is counted now or by the next `take`.
    """

    __slots__ = ("_lock", "_new", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._new: dict[tuple[Text, int], list[int]] = {}
        self._waiting: dict[tuple[Text, int], list[int]] = {}

    def add(self, text: Text, minute: int, failed: int) -> bool:
        """Announce one; False if there is no room, so that it counts in the minute in which it is counted."""
        with self._lock:
            at = (text, minute)
            if at not in self._new and len(self._new) >= MAX_NEW:
                return False
            both = self._new.setdefault(at, [0, 0])
            both[0] += 1
            both[1] += failed
            return True

    def take(self, found: dict[Text, int], failed: dict[Text, int]) -> Iterator[tuple[Text, int, int, int]]:
        """Yield text, minute, executions and failures, and subtract them from `found` and `failed`."""
        with self._lock:
            new, self._new = self._new, {}
        waited, self._waiting = self._waiting, {}
        for (text, minute), (n, bad) in (*waited.items(), *new.items()):
            moved = min(n, found.get(text, 0))
            moved_bad = min(bad, failed.get(text, 0), moved)
            if moved:
                found[text] -= moved
                failed[text] = failed.get(text, 0) - moved_bad
                yield text, minute, moved, moved_bad
            if moved < n and (text, minute) in new:
                # If it is not counted the next time either, there was no room for it.
                self._waiting[text, minute] = [n - moved, bad - moved_bad]


class ExecutionTotals:
    """Executions by text. `drain` on the background thread, the rest on any thread.

    Attributes:
        steps: by text and database, the function that counts one more. For a text that is not in it, call
            `count_unknown`.
    """

    __slots__ = (
        "_dropped",
        "_earlier",
        "_failed",
        "_known",
        "_lock",
        "_new",
        "_once",
        "_other",
        "_retired",
        "steps",
    )

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: forget what is counted, because the parent writes it."""
        self.steps: dict[Text, Callable[[], int]] = {}
        self._known: OrderedDict[Text, _Counter] = OrderedDict()
        self._retired: list[tuple[Text, _Counter]] = []
        self._new: deque[Text] = deque()
        self._other = _Counter()
        self._once: OrderedDict[Text, None] = OrderedDict()
        # The same thread takes it again where a signal's handler runs a query.
        self._lock = threading.RLock()
        self._failed: dict[Text, int] = {}
        self._dropped: dict[Text, int] = {}
        self._earlier = _EarlierMinutes()

    def started_at(self, statement: str, database: str, started: float, *, has_failed: bool) -> None:
        """Count the next execution in the minute of `started` (Unix time)."""
        self._earlier.add((statement, database), int(started // 60) * 60, int(has_failed))

    def count_unknown(self, statement: str, database: str) -> None:
        """Count one more execution of a text that is not in `steps`."""
        if len(self._new) < MAX_NEW:
            self._new.append((statement, database))
        else:
            self._other.step()

    def count_oversized(self) -> None:
        """Count one more execution of a text that is too large to wait, as dropped."""
        self._other.step()
        with self._lock:
            _increase(self._dropped, _OTHER_TEXT)

    def failed(self, statement: str, database: str) -> None:
        """One of the executions counted has failed."""
        with self._lock:
            _increase(self._failed, (statement, database))

    def dropped(self, statement: str, database: str) -> None:
        """One of the executions counted was to be kept, and there was no room for it."""
        with self._lock:
            _increase(self._dropped, (statement, database))

    def drain(self, now: float, template_of: Callable[[str], QueryTemplate]) -> list[TemplateTotal]:
        """The executions counted since the last time, by template, for the minute of `now`."""
        found: dict[Text, int] = {}
        for text, counter in self._known.items():
            steps = counter.take()
            if steps:
                found[text] = steps
        for text in list(found):
            self._known.move_to_end(text)
        for _ in range(len(self._new)):
            text = self._new.popleft()
            found[text] = found.get(text, 0) + 1
            self._remember(text)
        forgotten = self._forget()
        for text, steps in forgotten:
            found[text] = found.get(text, 0) + steps
        with self._lock:
            failed, self._failed = self._failed, {}
            dropped, self._dropped = self._dropped, {}
        minute = int(now // 60) * 60
        found = self._with_rest(found, failed, dropped)
        earlier = [
            TemplateTotal(at, template_of(text[0]), text[1], n, bad, 0)
            for text, at, n, bad in self._earlier.take(found, failed)
        ]
        counts = ((text, steps, failed.get(text, 0), dropped.get(text, 0)) for text, steps in found.items())
        return earlier + [
            TemplateTotal(minute, OTHER if text == _OTHER_TEXT else template_of(text[0]), text[1], *counted)
            for text, *counted in counts
            if any(counted)
        ]

    def _with_rest(
        self, found: dict[Text, int], failed: dict[Text, int], dropped: dict[Text, int]
    ) -> dict[Text, int]:
        """`found`, with texts that were counted in an earlier round and failed in this one."""
        others = self._other.take()
        if others:
            found[_OTHER_TEXT] = others
        return {**dict.fromkeys([*failed, *dropped], 0), **found}

    def _remember(self, text: Text) -> None:
        """Make a text known if it comes a second time."""
        if text in self._known or len(text[0]) > MAX_KNOWN_CHARACTERS:
            return
        if text in self._once:
            del self._once[text]
            counter = self._known[text] = _Counter()
            self.steps[text] = counter.step
            return
        self._once[text] = None
        if len(self._once) > _MAX_ONCE:
            self._once.popitem(last=False)

    def _forget(self) -> list[tuple[Text, int]]:
        """Drop the texts that were not seen for longest.

        A thread that has looked a counter up may still step it. So a dropped one is read once more next time.
        """
        dropped, self._retired = self._retired, []
        found = [(text, counter.take()) for text, counter in dropped]
        while len(self._known) > MAX_KNOWN:
            text, counter = self._known.popitem(last=False)
            del self.steps[text]
            found.append((text, counter.take()))
            self._retired.append((text, counter))
        return [(text, steps) for text, steps in found if steps]


def _increase(counts: dict[Text, int], text: Text) -> None:
    if text not in counts and len(counts) >= MAX_NEW:
        text = _OTHER_TEXT
    counts[text] = counts.get(text, 0) + 1
