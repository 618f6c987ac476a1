"""The work on the thread that ran a query: hash, compare, count, enqueue.

There is no parsing and no I/O, and a lock only where a query failed or is dropped. After the wait for a
server the processor's caches are cold, so each step costs a multiple of what it costs in a loop. That is why
there are few calls, and slots.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Final

from otel_ratelimit.queries.collaborators import BackgroundThread, Caller, Clocks, IntakeListener
from otel_ratelimit.queries.execution import (
    OK,
    CapturedExecution,
    ResultSizeReader,
    SessionContext,
    captured_execution,
)
from otel_ratelimit.queries.execution_key import ExecutionKeys
from otel_ratelimit.queries.execution_totals import ExecutionTotals
from otel_ratelimit.queries.n_plus_one import N_PLUS_ONE_EXECUTIONS, may_be_n_plus_one
from otel_ratelimit.queries.request_queries import MAX_STATEMENTS, Burst, RequestQueries
from otel_ratelimit.queries.sampling import MEASURED_BITS, SLOW_NANOSECONDS, QuerySampler, Window

MAX_QUEUED: Final = 20_000
"""Executions that wait for the next tick; ticks are at most a second apart."""
MAX_UNKEYED: Final = 2_000
"""Executions that wait for a key; these hold their parameters."""
LARGE_CHARACTERS: Final = 2_000
"""Statements longer than this are large."""
MAX_LARGE_CHARACTERS: Final = 16_000_000
"""Characters of large statements taken in between two ticks; the texts of further ones are not looked at."""
DURATION_SAMPLE: Final = 64
"""One execution in this many has its capture timed."""
START_AFTER: Final = 8
"""Executions after which the background thread is started if no request has done so, as in a worker."""

Queued = tuple[Window, bytes, CapturedExecution]
"""Window, key, and the rest."""
Unkeyed = tuple[bytes, bytes, CapturedExecution]
"""Context, the text as sent, and the rest."""
_Gate = tuple[dict[bytes, "hashlib.blake2b"], bytes, frozenset[bytes], Window]
"""Started hashes by context, threshold, hot keys, and the window that these belong to."""


class ExecutionIntake:
    """A `QueryObserver`: decides by key, and enqueues.

    Args:
        sampler: which keys are kept.
        totals: counts every execution.
        caller: where executions come from.
        background: the thread that empties the queue.
        listener: called at once.
        suspect: called with bursts that may contain an N+1 pattern.
        clocks: what time it is.

    Attributes:
        keys: None until the secret is known; see `open`.
        queue: executions that are kept.
        unkeyed: executions that wait for the secret.
        large: characters of large statements since it was set to 0.
        has_executions: whether any execution was reported, in this process or before it was forked.
    """

    __slots__ = (
        "_clock",
        "_draw",
        "_ensure_started",
        "_gate",
        "_listener",
        "_request",
        "_sampled_out",
        "_sampled_out_reads",
        "_sampler",
        "_suspect",
        "_timer",
        "_totals",
        "_trace_id",
        "_until_timed",
        "_wake",
        "has_executions",
        "keys",
        "large",
        "queue",
        "unkeyed",
    )

    def __init__(
        self,
        sampler: QuerySampler,
        totals: ExecutionTotals,
        caller: Caller,
        background: BackgroundThread,
        listener: IntakeListener,
        suspect: Callable[[Burst], None],
        clocks: Clocks,
    ) -> None:
        self._sampler = sampler
        self._totals = totals
        self._request = caller.request
        self._trace_id = caller.trace_id
        self._listener = listener
        self._suspect = suspect
        self._wake = background.wake
        self._ensure_started = background.ensure_started
        self._clock = clocks.unix
        self._timer = clocks.timer
        self._draw = Random().getrandbits  # noqa: S311 - nobody gains from guessing it
        self.has_executions = False
        self.open(None)
        self.queue: deque[Queued] = deque()
        self.unkeyed: deque[Unkeyed] = deque()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: forget what is queued, because the parent writes it."""
        self.queue.clear()
        self.unkeyed.clear()
        self.large = 0
        self._until_timed = START_AFTER
        self._sampled_out = count().__next__
        self._sampled_out_reads = 0

    def executed(  # noqa: C901, PLR0912, PLR0913, PLR0917 - calls and objects would cost too much
        self,
        statement: str,
        sent: bytes,
        session: SessionContext,
        nanoseconds: int,
        in_txn: bool,
        size_of: ResultSizeReader,
        result: Any,
        status: str = OK,
        started: float | None = None,
    ) -> None:
        """Take an execution in. See `QueryObserver`."""
        left = self._until_timed = self._until_timed - 1
        if not left:
            self._timed(statement, sent, session, nanoseconds, in_txn, size_of, result, status, started)
            return
        totals, database = self._totals, session.database
        if len(statement) > LARGE_CHARACTERS and not self._has_room(len(statement)):
            totals.count_oversized()
            return
        try:
            totals.steps[statement, database]()
        except KeyError:
            totals.count_unknown(statement, database)
        if status != OK:
            totals.failed(statement, database)
        request = self._request()
        if request is not None and request.add(statement, nanoseconds, self._timer()):
            self._look_for_n_plus_one(request, statement)
        gate = self._gate
        waiting: deque[Any]
        if gate is None:
            place: tuple[Any, bytes] = (session.context, sent)
            waiting = self.unkeyed
            has_room = len(waiting) < MAX_UNKEYED and len(sent) <= LARGE_CHARACTERS
        else:
            started_hashes, threshold, hot, window = gate
            try:
                state = started_hashes[session.context].copy()
            except KeyError:
                state = self._start_hash(session.context)
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
        if started is None:
            started = self._clock() - nanoseconds / 1e9
        # By chance, not in turn: of requests with four queries each, the same one would always be measured.
        is_measured = nanoseconds >= SLOW_NANOSECONDS or not self._draw(MEASURED_BITS)
        rows, size = size_of(result, is_measured)
        endpoint: str | None = None
        if request is None:
            trace_id = self._trace_id()
        else:
            endpoint, trace_id = request.endpoint, request.trace_id
        kept = captured_execution(
            (statement, database, started, nanoseconds, rows, size, status, in_txn, endpoint, trace_id)
        )
        waiting.append((*place, kept))
        if len(waiting) == MAX_QUEUED // 2:
            self._wake()

    def open(self, keys: ExecutionKeys | None) -> None:
        """Decide under these keys from now on, and by the sampler's current window."""
        self.keys = keys
        window = self._sampler.window
        self._gate: _Gate | None = (
            None if keys is None else (keys.started, window.threshold, window.hot, window)
        )

    def count_sampled_out(self) -> None:
        """Count an execution that waited for its key, and is not kept because of it."""
        self._sampled_out()

    def sampled_out(self) -> int:
        """Executions that were not kept because of their key, in this process."""
        self._sampled_out_reads += 1
        # Reading the counter steps it as well.
        return self._sampled_out() - self._sampled_out_reads + 1

    def _start_hash(self, context: bytes) -> hashlib.blake2b:
        if self.keys is None:
            raise RuntimeError("the keys are not known yet")
        return self.keys.start(context).copy()

    def _timed(self, *arguments: Any) -> None:
        # Threads may make it differ by a few, which does not matter for a sample.
        self._until_timed = DURATION_SAMPLE
        self.has_executions = True
        self._ensure_started()
        if self.keys is None and len(self.unkeyed) <= START_AFTER:
            self._wake()  # for the secret
        begun = self._timer()
        self.executed(*arguments)
        self._listener.captured(self._timer() - begun)

    def _has_room(self, size: int) -> bool:
        """Whether a large statement may wait; an addition may be lost to another thread's."""
        self.large += size
        return self.large <= MAX_LARGE_CHARACTERS

    def _look_for_n_plus_one(self, request: RequestQueries, statement: str) -> None:
        if request.executions(statement) == N_PLUS_ONE_EXECUTIONS and may_be_n_plus_one(statement):
            self._report(request, statement)
        if not request.is_suspect:
            request.is_suspect = True
            self._suspect(request.burst)

    def _report(self, request: RequestQueries, statement: str) -> None:
        """Report each text once, however many bursts of it a stream has."""
        if statement not in request.reported and len(request.reported) < MAX_STATEMENTS:
            request.reported.add(statement)
            self._listener.suspected(request)
