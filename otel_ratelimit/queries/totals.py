"""How often each template runs, every execution counted, at the price of one step of a counter.

A text that is known has a counter, stepped without a lock: one step of `itertools.count` is one
indivisible operation. A text that is not known is handed to the background thread, which counts it, and
makes it known when it comes again: an application that writes values into its SQL never sends the same
text twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Final

from otel_ratelimit.queries.records import QueryTemplate, TableWrite, TemplateTotal

MAX_KNOWN: Final = 4_096
MAX_NEW: Final = 20_000
"""Texts not known that wait for the background thread; further ones count for `OTHER`."""
MAX_KNOWN_CHARACTERS: Final = 20_000
_MAX_ONCE: Final = 8_192
_MAX_TEMPLATES: Final = 20_000
"""Different minutes, templates and databases that wait to be written; beyond, minutes are not told apart."""
OTHER: Final = QueryTemplate(0, "<other>", "other", (), is_write=False, volatile=False)
"""Stands for the texts that found no room."""

Text = tuple[str, str]
"""A text and its database."""


class _Counter:
    """Steps on any thread, read by one."""

    __slots__ = ("_reads", "_taken", "step")

    def __init__(self) -> None:
        self.step = count().__next__
        self._reads = 0
        self._taken = 0

    def take(self) -> int:
        """Steps since the last time."""
        # Reading steps as well.
        steps = self.step() - self._reads
        self._reads += 1
        new, self._taken = steps - self._taken, steps
        return new


class _Earlier:
    """Executions that are counted now and began in an earlier minute; on any thread, taken by one.

    Each is told of just before it is counted, so that it is counted now or by the next `take`.
    """

    __slots__ = ("_lock", "_new", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._new: dict[tuple[Text, int], list[int]] = {}
        self._waiting: dict[tuple[Text, int], list[int]] = {}

    def add(self, text: Text, minute: int, failed: int) -> bool:
        """One more; False where there is no room, so that it stays in the minute in which it is counted."""
        with self._lock:
            at = (text, minute)
            if at not in self._new and len(self._new) >= MAX_NEW:
                return False
            both = self._new.setdefault(at, [0, 0])
            both[0] += 1
            both[1] += failed
            return True

    def take(self, found: dict[Text, int], failed: dict[Text, int]) -> Iterator[tuple[Text, int, int, int]]:
        """Text, minute, executions and failures, which are taken off `found` and `failed`."""
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
                # What is not counted the next time either found no room.
                self._waiting[text, minute] = [n - moved, bad - moved_bad]


class Totals:
    """Executions by text. `count`, `failed`, `dropped` on any thread, the rest on the background thread.

    Attributes:
        steps: by text and database, what counts one more; for whoever cannot afford a call of `count`.
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
        """In a forked child: what is counted is the parent's."""
        self.steps: dict[Text, Callable[[], int]] = {}
        self._known: OrderedDict[Text, _Counter] = OrderedDict()
        self._retired: list[tuple[Text, _Counter]] = []
        self._new: deque[Text] = deque()
        self._other = _Counter()
        self._once: OrderedDict[Text, None] = OrderedDict()
        # Taken again by the same thread where a signal's handler runs a query.
        self._lock = threading.RLock()
        self._failed: dict[Text, int] = {}
        self._dropped: dict[Text, int] = {}
        self._earlier = _Earlier()

    def began(self, statement: str, database: str, started: float, *, has_failed: bool) -> None:
        """The execution that is counted next began at `started` (Unix time): count it in that minute."""
        self._earlier.add((statement, database), int(started // 60) * 60, int(has_failed))

    def count(self, statement: str, database: str) -> None:
        """One more execution."""
        step = self.steps.get((statement, database))
        if step is not None:
            step()
        else:
            self.unknown(statement, database)

    def unknown(self, statement: str, database: str) -> None:
        """One more execution of a text that is not in `steps`."""
        if len(self._new) < MAX_NEW:
            self._new.append((statement, database))
        else:
            self._other.step()

    def untold(self) -> None:
        """One more execution, of a text too large to wait, and dropped."""
        self._other.step()
        with self._lock:
            _increase(self._dropped, _OTHER_TEXT)

    def failed(self, statement: str, database: str) -> None:
        """Of those counted, one failed."""
        with self._lock:
            _increase(self._failed, (statement, database))

    def dropped(self, statement: str, database: str) -> None:
        """Of those counted, one was to be kept and found no room."""
        with self._lock:
            _increase(self._dropped, (statement, database))

    def drain(self, now: float, template_of: Callable[[str], QueryTemplate]) -> list[TemplateTotal]:
        """What was counted since the last time, by template, as of the minute of `now`."""
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
            self._meet(text)
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
        """Also texts that were counted in an earlier round and failed in this one."""
        others = self._other.take()
        if others:
            found[_OTHER_TEXT] = others
        return {**dict.fromkeys([*failed, *dropped], 0), **found}

    def _meet(self, text: Text) -> None:
        """Make a text known that comes a second time."""
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
        """Drop the texts not seen for longest.

        A thread that has looked one up may step it yet; so what is dropped is read once more the next time.
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


_OTHER_TEXT: Final[Text] = (OTHER.text, "")


class PendingTotals:
    """Totals that wait to be written, those of the same minute, template and database as one."""

    def __init__(self) -> None:
        self._totals: dict[tuple[int, int, str], TemplateTotal] = {}

    def add(self, totals: Iterable[TemplateTotal]) -> None:
        """More of them."""
        for new in totals:
            place = (new.minute, new.template.hash, new.database)
            if place not in self._totals and len(self._totals) >= _MAX_TEMPLATES:
                place, new = self._nearest(new)  # noqa: PLW2901 - the same, in a coarser place
            old = self._totals.get(place)
            self._totals[place] = new if old is None else _sum(old, new)

    def __len__(self) -> int:
        return len(self._totals)

    def take(self, most: int) -> tuple[TemplateTotal, ...]:
        """As many of them, the oldest first."""
        places = list(islice(self._totals, most))
        return tuple(self._totals.pop(place) for place in places)

    def _nearest(self, new: TemplateTotal) -> tuple[tuple[int, int, str], TemplateTotal]:
        """The same template in a minute that is there already, or else the texts that found no room."""
        for old in self._totals.values():
            if (old.template.hash, old.database) == (new.template.hash, new.database):
                return (old.minute, old.template.hash, old.database), new
        minute = next(iter(self._totals))[0]
        other = TemplateTotal(minute, OTHER, "", new.n, new.failed, new.dropped)
        return (minute, OTHER.hash, ""), other


def _sum(old: TemplateTotal, new: TemplateTotal) -> TemplateTotal:
    return TemplateTotal(
        old.minute,
        old.template,
        old.database,
        old.n + new.n,
        old.failed + new.failed,
        old.dropped + new.dropped,
    )


def table_writes(totals: Iterable[TemplateTotal]) -> tuple[TableWrite, ...]:
    """The same by table: statements that wrote it and did not fail."""
    found: dict[tuple[int, str, str, str], int] = {}
    for total in totals:
        if not total.template.is_write:
            continue
        for table, operation in total.template.written:
            place = (total.minute, total.database, table, operation)
            found[place] = found.get(place, 0) + total.n - total.failed
    return tuple(TableWrite(*place, n) for place, n in found.items() if n > 0)
