"""Prices of caches: the presets, and what a cache costs a month with one of them.

Prices are those that providers list; the presets say on which day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil
from typing import Final

from pydantic import model_validator

from otel_ratelimit.cache_advice.needs import Needs
from otel_ratelimit.cache_advice.result import Result
from otel_ratelimit.core.cache_assumptions import DEFAULT_CURRENCY, DEFAULT_RESERVE, PriceKind

HOURS_A_MONTH: Final = 730.5
DAYS_A_MONTH: Final = HOURS_A_MONTH / 24
REQUESTS_PRICED_TOGETHER: Final = 1e6
"""`Price.million_requests` is the price of this many requests."""
_GB: Final = 1e9


class Price(Result):
    """One way to run a cache; all prices of a comparison are in one currency."""

    name: str
    kind: PriceKind
    as_of: date | None = None
    """The day on which the provider listed this price."""
    memory_bytes: float = 0.0
    """Memory of one instance; 0 for a kind that grows with the need."""
    month: float = 0.0
    """Money a month: for one instance, or for the operation of a self-hosted cache."""
    gb_hour: float = 0.0
    """Money for a gigabyte (10^9 bytes) for an hour."""
    million_requests: float = 0.0
    """Money for a million requests of up to a kilobyte each."""
    least_bytes: float = 0.0
    """The least memory that is billed."""

    @model_validator(mode="after")
    def _an_instance_has_memory(self) -> Price:
        if self.kind == "instance" and self.memory_bytes <= 0.0:
            raise ValueError(f"the instance {self.name!r} has no memory; give its memory_bytes")
        return self

    def monthly(self, needs: Needs, reserve: float) -> float:
        """Money that the cache costs a month.

        Args:
            needs: what a day asks of the cache.
            reserve: share of memory that must stay free.
        """
        wanted = needs.memory_bytes / (1.0 - reserve)
        if self.kind == "instance":
            return max(1, ceil(wanted / self.memory_bytes)) * self.month
        paid = max(needs.memory_bytes if self.kind == "serverless" else wanted, self.least_bytes)
        requests = DAYS_A_MONTH * needs.requests_a_day
        return (
            self.month
            + self.gb_hour * paid / _GB * HOURS_A_MONTH
            + self.million_requests * requests / REQUESTS_PRICED_TOGETHER
        )

    def gb_hour_in_use(self, reserve: float) -> float:
        """Money that one more gigabyte in use costs for an hour, on average.

        Args:
            reserve: share of memory that must stay free.
        """
        if self.kind == "serverless":
            return self.gb_hour
        whole = self.gb_hour
        if self.kind == "instance":
            whole = self.month / (HOURS_A_MONTH * self.memory_bytes / _GB)
        return whole / (1.0 - reserve)


_LISTED: Final = date(2026, 6, 1)
PRICES: Final[tuple[Price, ...]] = (
    Price(
        name="Valkey, serverless",
        kind="serverless",
        as_of=_LISTED,
        gb_hour=0.084,
        million_requests=0.0023,
        least_bytes=0.1 * _GB,
    ),
    Price(
        name="Redis OSS, serverless",
        kind="serverless",
        as_of=_LISTED,
        gb_hour=0.125,
        million_requests=0.0034,
        least_bytes=1.0 * _GB,
    ),
)
"""Price presets in US dollars, as one large provider lists them; the policy file can replace them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """The prices to choose from, and how they are applied."""

    prices: Sequence[Price] = PRICES
    reserve: float = DEFAULT_RESERVE
    """Share of memory that must stay free."""
    currency: str = DEFAULT_CURRENCY
    """ISO 4217; only named, nothing is converted."""
