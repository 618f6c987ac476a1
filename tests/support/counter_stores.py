"""Counter stores of each kind, windows and clients, for tests of the behaviour that all stores share."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import pytest
from zone_recount import assert_figures_are_exact

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.bounded_memory import BoundedMemoryStore
from otel_ratelimit.storage.strategies import RULES
from otel_ratelimit.storage.sweeper import Sweeper
from otel_ratelimit.storage.zone.lock import LockKind
from otel_ratelimit.storage.zone.opened import Zone, prepare
from otel_ratelimit.storage.zone.store import ZoneStore
from otel_ratelimit.storage.zone.sweeper import ZoneSweeper
from otel_ratelimit.storage.zone.values import FORMS

NOW: Final = 1_700_000_000.0
CAPACITY: Final = 1_000_000
_BYTES_PER_COUNTER: Final = 112
LOCKS: Final[tuple[LockKind, ...]] = ("mutex", "file")

Store: TypeAlias = BoundedMemoryStore | ZoneStore
MakeStore: TypeAlias = Callable[..., Store]
"""(capacity=..., clock=...): an empty store."""


def zone_store(kind: LockKind = "mutex", capacity: int = CAPACITY, clock: Clock = time.time) -> ZoneStore:
    """A store in a new zone, which forked processes share."""
    memory = mmap.mmap(-1, capacity)
    prepare(memory, capacity, kind, NOW)
    return ZoneStore(Zone(memory, capacity, kind), clock)


def in_process(capacity: int = CAPACITY, clock: Clock = time.time) -> Store:
    return BoundedMemoryStore(capacity, clock)


def zone_with_mutex(capacity: int = CAPACITY, clock: Clock = time.time) -> Store:
    return zone_store("mutex", capacity, clock)


def zone_with_file_lock(capacity: int = CAPACITY, clock: Clock = time.time) -> Store:
    return zone_store("file", capacity, clock)


_STRATEGIES: Final = {in_process: RULES, zone_with_mutex: FORMS, zone_with_file_lock: FORMS}
EVERY_STORE: Final = pytest.mark.parametrize("make", list(_STRATEGIES))


def every_strategy(quick: int | None = None) -> pytest.MarkDecorator:
    """Each store with each strategy that it has: the parameters `make` and `strategy`.

    Args:
        quick: how many strategies of each store are for `make test`; None for all.
    """
    return pytest.mark.parametrize(("make", "strategy"), list(_variations(quick)))


def _variations(quick: int | None) -> Iterator[object]:
    for make, strategies in _STRATEGIES.items():
        # Between the two locks nothing differs that takes long to show.
        allowed = len(strategies) if quick is None else 0 if make is zone_with_file_lock else quick
        for number, strategy in enumerate(strategies):
            yield pytest.param(make, strategy, marks=() if number < allowed else pytest.mark.full)


def sweeper_of(counters: Store) -> Sweeper | ZoneSweeper:
    """A sweeper that does not rest."""
    if isinstance(counters, ZoneStore):
        return ZoneSweeper(counters, 60, rest=lambda _seconds: None)
    return Sweeper(counters, 60, rest=lambda _seconds: None)


def room_of(counters: Store) -> int:
    """About how many fixed windows fit into an empty store."""
    if isinstance(counters, ZoneStore):
        return counters.zone.layout.key_mark
    return counters.budget.capacity // _BYTES_PER_COUNTER


def assert_exact(counters: Store) -> None:
    """The store's figures are those of its counters, and it keeps to its capacity."""
    snapshot = counters.snapshot()
    assert snapshot.capacity_bytes is not None
    assert snapshot.size_bytes <= snapshot.capacity_bytes
    if isinstance(counters, ZoneStore):
        assert_figures_are_exact(counters.zone)
    else:
        assert counters.budget.used == sum(table.weigh() for table in counters.tables())


def window(
    amount: int,
    seconds: int,
    strategy: Strategy = Strategy.FIXED_WINDOW,
    *,
    shadow: bool = False,
    scope: str = "users.list",
) -> Window:
    return Window(
        f"app|{scope}|{seconds}|{strategy}|",
        amount,
        seconds,
        strategy,
        shadow,
        f"{amount} per {seconds} second",
        "w",
    )


def client(n: int = 0) -> str:
    """Clients of many networks."""
    return f"i{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def neighbour(n: int) -> str:
    """Clients of one network, of which no `client` is."""
    return f"iffffff{n:026x}"


def flood(counters: Store, windows: Sequence[Window], now: float = NOW) -> str:
    """New clients until twenty in a row find no room; returns the last of them."""
    overflows: list[str] = []
    counters.on_overflow(overflows.append)
    n, turned_away = 1_000_000, 0
    while turned_away < 20:
        n += 1
        overflows.clear()
        counters.take(windows, client(n), 1, now)
        turned_away = turned_away + 1 if overflows else 0
    return client(n)
