"""A caller's deadline, which every step below it that waits can read.

A caller who has half a second (`force_flush(500)`, the end of the process) says so once, with `within`.
Each step below that waits for a lock, a name server, a connection or an answer asks `seconds_left`, and waits
no longer. So a step that is added later keeps the deadline, and its callers need not pass it on.

The deadline belongs to the context (`contextvars`): to one thread, or one greenlet of gevent's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from otel_ratelimit.core.clock import monotonic_time

_ends: Final[ContextVar[float]] = ContextVar("otel_ratelimit_deadline", default=math.inf)
"""The end, on the clock of `monotonic_time`."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the steps in this block wait for `seconds` at most, or for less where an outer block says so."""
    token = _ends.set(min(_ends.get(), monotonic_time() + seconds))
    try:
        yield
    finally:
        _ends.reset(token)


def seconds_left(at_most: float = math.inf) -> float:
    """How long a step may wait now whose own limit is `at_most` seconds; never negative."""
    ends = _ends.get()
    return at_most if ends == math.inf else max(0.0, min(at_most, ends - monotonic_time()))


def is_over() -> bool:
    """Whether no time is left."""
    ends = _ends.get()
    return ends != math.inf and monotonic_time() >= ends
