"""Collaborators of the query log, which the program around it provides."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from otel_ratelimit.core.clock import monotonic_time, unix_time
from otel_ratelimit.queries.records import RequestRepeats
from otel_ratelimit.queries.request_queries import RequestQueries


@dataclass(frozen=True, slots=True)
class Caller:
    """Where executions come from."""

    process: Callable[[], str]
    """Names this process."""
    request: Callable[[], RequestQueries | None]
    """The request that the current thread serves; None outside of requests."""
    trace_id: Callable[[], int]
    """The trace that the current thread is in, 0 for none; called outside of requests."""


@dataclass(frozen=True, slots=True)
class BackgroundThread:
    """The thread that calls `QueryLog.tick`."""

    wake: Callable[[], None]
    """Asks for a tick soon."""
    ensure_started: Callable[[], None]
    """Starts the thread unless it runs; called now and then."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks, in seconds."""

    unix: Callable[[], float] = unix_time
    monotonic: Callable[[], float] = monotonic_time
    timer: Callable[[], float] = time.perf_counter
    """For how long the capture takes, and for pauses between the queries of a request."""


REAL_CLOCKS: Final = Clocks()


class QueryCounts(NamedTuple):
    """Executions since the process started."""

    recorded: int
    sampled_out: int
    dropped: int


class IntakeListener(Protocol):
    """Is called at once, on the thread that ran the query."""

    def suspected(self, request: RequestQueries) -> None:
        """A request has run one text as often as makes an N+1 pattern."""

    def captured(self, seconds: float) -> None:
        """The capture of one execution took `seconds`."""


class QueryLogListener(IntakeListener, Protocol):
    """Is also called on the background thread, when it is known what became of executions."""

    def counted(self, new: QueryCounts) -> None:
        """This many more executions were recorded, sampled out or dropped."""

    def repeated(self, repeats: RequestRepeats) -> None:
        """Requests ran one template again and again."""
