"""Estimates how many different queries ran, and what share were repeats, from a sample by key.

A row of a cold key stands for 1 / rate keys (Horvitz and Thompson, 1952), a row of a hot key for itself. A
key that was hot once is known with certainty, wherever else it appears. Rates within a period are halves of
each other, and a key that is kept at a lower rate is kept at each higher one. So the lowest rate is that of
the period.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Final, Protocol

_KEY_BITS: Final = 128


class KeyedRow(Protocol):
    """The columns of `query_logs` that are needed."""

    @property
    def key(self) -> bytes:
        """16 bytes."""

    @property
    def n(self) -> int:
        """Executions."""

    @property
    def sample_rate(self) -> float:
        """Share of the keys kept."""

    @property
    def tier(self) -> str:
        """`hot` or `cold`."""


@dataclass(frozen=True, slots=True)
class DuplicateShare:
    """The estimate for a period."""

    executions: int
    """Exact, if the total is exact."""
    unique: float
    """Different keys."""
    share: float
    """Executions that repeated an earlier one, 0 to 1."""
    standard_error: float
    """Standard error of the share."""


def duplicate_share(rows: Iterable[KeyedRow], executions: int) -> DuplicateShare:
    """Estimate the share of `executions` that repeated an earlier one.

    Args:
        rows: rows of the period, from all processes.
        executions: all executions of the period, kept or not (`query_totals`).
    """
    hot: set[bytes] = set()
    cold: set[bytes] = set()
    rate = 1.0
    for row in rows:
        if row.tier == "hot":
            hot.add(row.key)
        else:
            cold.add(row.key)
            rate = min(rate, row.sample_rate)
    limit = rate * (1 << _KEY_BITS)
    sampled = sum(1 for key in cold - hot if rate >= 1.0 or int.from_bytes(key, "big") < limit)
    unique = min(len(hot) + sampled / rate, float(max(executions, 0)))
    # Each of the cold keys is in the sample with probability `rate`, independently of the others.
    error = sqrt(sampled * (1 - rate)) / rate
    if executions <= 0:
        return DuplicateShare(0, 0.0, 0.0, 0.0)
    return DuplicateShare(executions, unique, 1.0 - unique / executions, error / executions)
