"""A query log with tables, a listener and clocks that the test holds."""

from __future__ import annotations

from collections import Counter

import pytest

from otel_ratelimit.core.errors import (
    DataRejectedError,
)
from otel_ratelimit.queries.collaborators import BackgroundThread, Caller, Clocks
from otel_ratelimit.queries.query_log import QueryLog
from otel_ratelimit.queries.sampling import QuerySampler


class Tables:
    """A writer that can be made to fail."""

    def __init__(self):
        self.batches = []
        self.failure = None

    def write(self, batch):
        is_about_rows = isinstance(self.failure, DataRejectedError)
        if self.failure is not None and (batch.rows or not is_about_rows):
            raise self.failure
        self.batches.append(batch)

    def close(self):
        pass

    @property
    def rows(self):
        return [row for batch in self.batches for row in batch.rows]

    @property
    def executions(self):
        return sum(total.n for batch in self.batches for total in batch.totals)


class Listener:
    def __init__(self):
        self.counts = Counter()
        self.patterns = []
        self.suspects = []
        self.starts = []
        self.seconds = []

    def counted(self, new):
        self.counts.update(new._asdict())

    def repeated(self, repeats):
        self.patterns.append(repeats)

    def suspected(self, request):
        self.suspects.append(request)

    def captured(self, seconds):
        self.seconds.append(seconds)


class Clock:
    now = 6_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def tables():
    return Tables()


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def clock():
    return Clock()


class Served:
    """The request that the thread serves."""

    request = None


@pytest.fixture
def served():
    return Served()


class Timer:
    now = 50.0

    def __call__(self):
        self.now += 1e-6
        return self.now


@pytest.fixture
def timer():
    """Seconds on the clock of the thread that runs queries."""
    return Timer()


@pytest.fixture
def make(tables, listener, clock, served, timer):
    def make(rate=1.0, secret=lambda: b"secret", **options):
        log = QueryLog(
            tables,
            QuerySampler(rate, **options),
            secret,
            Caller(lambda: "one", lambda: served.request, lambda: 7),
            BackgroundThread(lambda: None, lambda: listener.starts.append(True)),
            listener,
            flush_interval=60.0,
            clocks=Clocks(clock, clock, timer),
        )
        log.tick()
        return log

    return make
