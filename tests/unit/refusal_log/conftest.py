"""A refusal log with a clock that the test sets."""

from __future__ import annotations

import logging
from hashlib import blake2b

import pytest
from refusal_lines import LOGGER

from otel_ratelimit.telemetry.logs import RefusalLog, ShownAddresses, distinct_count
from otel_ratelimit.telemetry.logs.refusal_summaries import RefusalLines


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def the_same_hash_in_each_run(monkeypatch):
    """How far an estimate is off depends on the hash, and Python's is another one in each process."""
    monkeypatch.setattr(
        distinct_count,
        "hash",
        lambda text: int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True),
        raising=False,
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_log(clock, caplog):
    caplog.set_level(logging.INFO, LOGGER)

    def make(style="whole", *, key=b"", shared=None, max_pending=1_000, max_clients=100):
        addresses = ShownAddresses(style, key, shared)
        return RefusalLog(addresses, RefusalLines(max_clients), max_pending, monotonic=clock)

    return make
