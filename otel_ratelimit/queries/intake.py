"""What is done on the thread that ran a query: hash, compare, count, enqueue.

No parsing, no I/O, no lock but where a query failed or is dropped. After the wait for a server the
processor's caches are cold, so each step costs a multiple of what it costs in a loop: hence few calls, and
slots.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Final, Protocol

from otel_ratelimit.queries.execution import OK, AnswerOf, Asker
from otel_ratelimit.queries.execution_key import ExecutionKeys
from otel_ratelimit.queries.requests import MAX_STATEMENTS, PATTERN_EXECUTIONS, Burst, RequestQueries
from otel_ratelimit.queries.rows import Told, told
from otel_ratelimit.queries.sampling import QuerySampler, Window
from otel_ratelimit.queries.totals import Totals

MAX_QUEUED: Final = 20_000
"""Executions between two ticks, which are at most a second apart."""
MAX_UNKEYED: Final = 2_000
"""Executions that wait for a key; they hold their parameters."""
LARGE_CHARACTERS: Final = 2_000
MAX_LARGE_CHARACTERS: Final = 16_000_000
"""Of statements longer than that, between two ticks; beyond, their texts are not looked at."""
MEASURED_BITS: Final = 2
"""The size of one result in 2 to the power of so many is asked for: it takes as long as all the rest."""
SLOW_NANOSECONDS: Final = 1_000_000
"""Of queries that take longer it is asked for always: there it makes no difference."""
DURATION_SAMPLE: Final = 64
"""One execution in so many has its capture timed."""

_QUESTIONS: Final = frozenset({"sel", "wit", "val", "tab", "ins", "upd", "del", "mer", "cal"})
"""How statements begin that make a pattern, unlike savepoints and the like."""

START_AFTER: Final = 8
"""Executions after which the background thread is started where no request has done so, as in a worker."""

Queued = tuple[Window, bytes, Told]
"""Window, key, and the rest."""
_Gate = tuple[dict[bytes, "hashlib.blake2b"], bytes, frozenset[bytes], Window]
"""Begun hashes by context, threshold, hot keys, and the window that these are of."""
Unkeyed = tuple[bytes, bytes, Told]
"""Context, what was sent, and the rest."""


class IntakeListener(Protocol):
    """Who wants to know at once, on the thread that ran the query."""

    def suspected(self, request: RequestQueries) -> None:
        """A request has run one text as often as makes a pattern."""

    def captured(self, seconds: float) -> None:
        """So long it took to take note of one execution."""


class Intake:
    """A `QueryObserver`: decides by key, and enqueues.

    Args:
        sampler: which keys are kept.
        totals: counts every execution.
        request: the one that the current thread serves; None outside of one.
        trace_id: of what the current thread does, 0 for none; asked outside of requests.
        listener: told at once.
        suspect: told of bursts in which there may be a pattern.
        wake: asks for a look at the queue soon.
        start: sees to it that somebody looks at the queue at all; asked now and then.
        clock: Unix time, seconds.
        timer: seconds, for how long all this takes, and for pauses between a request's queries.

    Attributes:
        keys: None until the secret is known; see `open`.
        queue: what is kept.
        unkeyed: what waits for the secret.
        large: characters of large statements since it was set to 0.
        has_been_told: whether there were executions, in this process or before it was forked.
    """

    __slots__ = (
        *(
            "_clock",
            "_draw",
            "_gate",
            "_listener",
            "_request",
            "_sampled_out",
            "_sampled_out_reads",
            "_sampler",
        ),
        *("_start", "_suspect", "_timer", "_totals", "_trace_id", "_until_timed", "_wake"),
        *("has_been_told", "keys", "large", "queue", "unkeyed"),
    )

    def __init__(  # noqa: PLR0913, PLR0917 - each is a different collaborator
        self,
        sampler: QuerySampler,
        totals: Totals,
        request: Callable[[], RequestQueries | None],
        trace_id: Callable[[], int],
        listener: IntakeListener,
        suspect: Callable[[Burst], None],
        wake: Callable[[], None],
        start: Callable[[], None],
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._sampler = sampler
        self._totals = totals
        self._request = request
        self._trace_id = trace_id
        self._listener = listener
        self._suspect = suspect
        self._wake = wake
        self._start = start
        self._clock = clock
        self._timer = timer
        self._draw = Random().getrandbits  # noqa: S311 - nobody gains from guessing it
        self.has_been_told = False
        self.open(None)
        self.queue: deque[Queued] = deque()
        self.unkeyed: deque[Unkeyed] = deque()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: what waits is the parent's."""
        self.queue.clear()
        self.unkeyed.clear()
        self.large = 0
        self._until_timed = START_AFTER
        self._sampled_out = count().__next__
        self._sampled_out_reads = 0

    def executed(  # noqa: C901, PLR0913, PLR0917 - see above
        self,
        statement: str,
        sent: bytes,
        asker: Asker,
        nanoseconds: int,
        in_txn: bool,
        answer_of: AnswerOf,
        result: Any,
        status: str = OK,
        started: float | None = None,
    ) -> None:
        """Take note of an execution. See `QueryObserver`."""
        left = self._until_timed = self._until_timed - 1
        if not left:
            self._timed(statement, sent, asker, nanoseconds, in_txn, answer_of, result, status, started)
            return
        totals, database = self._totals, asker.database
        if len(statement) > LARGE_CHARACTERS and not self._has_room(len(statement)):
            totals.untold()
            return
        try:
            totals.steps[statement, database]()
        except KeyError:
            totals.unknown(statement, database)
        if status != OK:
            totals.failed(statement, database)
        request = self._request()
        if request is not None and request.add(statement, nanoseconds, self._timer()):
            self._within(request, statement)
        gate = self._gate
        waiting: deque[Any]
        if gate is None:
            place: tuple[Any, bytes] = (asker.context, sent)
            waiting = self.unkeyed
            has_room = len(waiting) < MAX_UNKEYED and len(sent) <= LARGE_CHARACTERS
        else:
            begun, threshold, hot, window = gate
            try:
                state = begun[asker.context].copy()
            except KeyError:
                state = self._begin(asker.context)
            state.update(sent)
            key = state.digest()
            if key >= threshold and key not in hot:
                if self._sampled_out() % window.noted_one_in == 0:
                    self._sampler.note(key)
                return
            waiting, place = self.queue, (window, key)
            has_room = len(waiting) < MAX_QUEUED
        if not has_room:
            totals.dropped(statement, database)
            return
        told = self._told(
            statement, database, request, nanoseconds, in_txn, answer_of, result, status, started
        )
        waiting.append((*place, told))
        if len(waiting) == MAX_QUEUED // 2:
            self._wake()

    def open(self, keys: ExecutionKeys | None) -> None:
        """Decide from now on under these keys, and by the sampler's present window."""
        self.keys = keys
        window = self._sampler.window
        self._gate: _Gate | None = (
            None if keys is None else (keys.begun, window.threshold, window.hot, window)
        )

    def passed_over(self) -> None:
        """One of those that waited for a key turned out not to be kept."""
        self._sampled_out()

    def sampled_out(self) -> int:
        """Executions that were not kept because of their key, in this process."""
        self._sampled_out_reads += 1
        # Reading steps as well.
        return self._sampled_out() - self._sampled_out_reads + 1

    def _told(  # noqa: PLR0913, PLR0917 - as above
        self,
        statement: str,
        database: str,
        request: RequestQueries | None,
        nanoseconds: int,
        in_txn: bool,
        answer_of: AnswerOf,
        result: Any,
        status: str,
        started: float | None,
    ) -> Told:
        if started is None:
            started = self._clock() - nanoseconds / 1e9
        # Chance, not turns: of requests with four queries each the same one would be measured always.
        is_measured = nanoseconds >= SLOW_NANOSECONDS or not self._draw(MEASURED_BITS)
        rows, size = answer_of(result, is_measured)
        if request is not None:
            endpoint, trace_id = request.endpoint, request.trace_id
            return told(
                (statement, database, started, nanoseconds, rows, size, status, in_txn, endpoint, trace_id)
            )
        trace_id = self._trace_id()
        return told((statement, database, started, nanoseconds, rows, size, status, in_txn, None, trace_id))

    def _begin(self, context: bytes) -> hashlib.blake2b:
        if self.keys is None:
            raise RuntimeError("there are no keys")
        return self.keys.begin(context).copy()

    def _timed(self, *arguments: Any) -> None:
        # Off by a few under threads, which does not matter for a sample.
        self._until_timed = DURATION_SAMPLE
        self.has_been_told = True
        self._start()
        if self.keys is None and len(self.unkeyed) <= START_AFTER:
            self._wake()  # for the secret
        begun = self._timer()
        self.executed(*arguments)
        self._listener.captured(self._timer() - begun)

    def _has_room(self, size: int) -> bool:
        """Whether a large statement may wait; an addition may be lost to another thread's."""
        self.large += size
        return self.large <= MAX_LARGE_CHARACTERS

    def _within(self, request: RequestQueries, statement: str) -> None:
        is_pattern = request.executions(statement) == PATTERN_EXECUTIONS
        if is_pattern and statement.lstrip("( \t\r\n")[:3].lower() in _QUESTIONS:
            self._say(request, statement)
        if not request.is_suspect:
            request.is_suspect = True
            self._suspect(request.burst)

    def _say(self, request: RequestQueries, statement: str) -> None:
        """Once for each text, however many bursts of it a stream has."""
        if statement not in request.said and len(request.said) < MAX_STATEMENTS:
            request.said.add(statement)
            self._listener.suspected(request)
