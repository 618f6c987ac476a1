"""The arithmetic of the three strategies, as pure functions of one counter's value.

A value is one immutable object that the garbage collector need not visit, and the smallest object of CPython
that can hold the data. `None` is a counter without a hit.

    fixed window            complex(expiry, used): two floats in 32 bytes
    sliding-window counter  index << 128 | previous << 64 | current: one integer, 48 bytes
    moving window           bytes: the expiry of each unit taken, a float64 each, oldest first

The results are those of `limits.strategies` on `limits.storage.MemoryStorage`, with one difference: a unit of
a moving window stops counting exactly `seconds` after it was taken (in `limits`: just after that), so that it
is always enough to wait for `retry_after`. A counter is expired when its expiry is now or earlier.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from math import ulp
from typing import Any, Final, NamedTuple, TypeAlias

from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.clock_set_back import latest_expiry, seconds_until
from otel_ratelimit.storage.memory_budget import rounded

Value: TypeAlias = Any
"""`complex`, `int` or `bytes`: only the strategy that made it looks inside."""

_state: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""


class StrategyRules(NamedTuple):
    """The functions of one strategy. They hold no state: everything is in the value and the arguments."""

    wait: Callable[[Value | None, int, int, int, float], float]
    """(value, amount, seconds, cost, now): seconds until `cost` fits; 0.0 if it fits now."""
    add: Callable[[Value | None, int, int, float], Value]
    """(value, seconds, cost, now): the value with `cost` counted."""
    state: Callable[[Value | None, int, int, float, float], WindowState]
    """(value, amount, seconds, now, wait): the state to report."""
    expiry: Callable[[Value, int], float]
    """(value, seconds): the time from which the value has no effect."""
    unfit: Callable[[Mapping[Any, Value], int, float], list[Any]]
    """(values, seconds, now): keys whose value is expired, or too far in the future for the clock."""
    settled: Callable[[Value, int, float], Value]
    """(value, seconds, now): the value as if it was counted now, for a clock that was set back."""
    size: Callable[[Value], int]
    """(value): bytes that it takes."""
    elastic: bool
    """Whether the size of a value depends on its content."""


# --- fixed window -------------------------------------------------------------------------------


def _fixed_wait(value: complex | None, amount: int, seconds: int, cost: int, now: float) -> float:
    if cost > amount:
        return float(seconds)
    if value is None or value.imag + cost <= amount or value.real <= now:
        return 0.0
    return seconds_until(value.real, now, seconds)


def _fixed_add(value: complex | None, seconds: int, cost: int, now: float) -> complex:
    if value is None or value.real <= now:
        return complex(now + seconds, cost)
    return value + complex(0.0, cost)


def _fixed_state(value: complex | None, amount: int, _seconds: int, now: float, wait: float) -> WindowState:
    if value is None or value.real <= now:
        return _state(WindowState, (0, amount, 0.0, wait))
    used = int(value.imag)
    return _state(WindowState, (used, amount - used if used < amount else 0, value.real - now, wait))


def _fixed_expiry(value: complex, _seconds: int) -> float:
    return value.real


def _fixed_unfit(values: Mapping[Any, complex], seconds: int, now: float) -> list[Any]:
    horizon = latest_expiry(now, seconds)
    return [key for key, value in values.items() if not now < value.real <= horizon]


def _fixed_settled(value: complex, seconds: int, now: float) -> complex:
    return complex(now + seconds, value.imag)


# --- sliding-window counter ---------------------------------------------------------------------

_BITS: Final = 64
_MASK: Final = (1 << _BITS) - 1
_INDEX: Final = 2 * _BITS


def _sliding_read(value: int | None, seconds: int, now: float) -> tuple[int, int, int, float]:
    """(index, previous, current, now): both counts as they are at `now`.

    A value of the next window is read at the start of that window: another thread was a moment faster.
    """
    index = int(now // seconds)
    if value is None:
        return index, 0, 0, now
    ahead = (value >> _INDEX) - index
    if ahead == 0:
        return index, value >> _BITS & _MASK, value & _MASK, now
    if ahead > 0:
        index += ahead
        return index, value >> _BITS & _MASK, value & _MASK, float(index * seconds)
    return index, (value & _MASK if ahead == -1 else 0), 0, now


def sliding_counts(value: int | None, seconds: int, now: float) -> tuple[int, float, int, float]:
    """The previous count and for how long it is still weighted, the current count and its TTL."""
    index, previous, current, at = _sliding_read(value, seconds, now)
    left = (index + 1) * seconds - at
    return previous, (left if previous else 0.0), current, left + seconds


def _sliding_wait(value: int | None, amount: int, seconds: int, cost: int, now: float) -> float:
    if cost > amount:
        return float(seconds)
    if value is None:
        return 0.0
    index, previous, current, at = _sliding_read(value, seconds, now)
    end = (index + 1) * seconds
    if int(previous * (end - at) / seconds + current) + cost <= amount:
        return 0.0
    if current + cost > amount:  # not in this window; in the next one the weight of `current` falls
        previous, current, end = current, 0, end + seconds
    # The weighted count is rounded down, so the cost fits as soon as the count is below room + 1.
    moment = end - (amount - cost - current + 1) * seconds / previous
    wait = max(moment, at) - now
    step = ulp(now)
    while not _sliding_fits(value, amount, seconds, cost, now + wait):
        wait += step
        step *= 2
    return wait


def _sliding_fits(value: int, amount: int, seconds: int, cost: int, now: float) -> bool:
    index, previous, current, at = _sliding_read(value, seconds, now)
    return int(previous * ((index + 1) * seconds - at) / seconds + current) + cost <= amount


def _sliding_add(value: int | None, seconds: int, cost: int, now: float) -> int:
    index = int(now // seconds)
    if value is None:
        return index << _INDEX | min(cost, _MASK)
    behind = index - (value >> _INDEX)
    current = value & _MASK
    if behind <= 0:
        return value + cost if current + cost <= _MASK else value | _MASK
    previous = current if behind == 1 else 0
    return index << _INDEX | previous << _BITS | min(cost, _MASK)


def _sliding_state(value: int | None, amount: int, seconds: int, now: float, wait: float) -> WindowState:
    index, previous, current, at = _sliding_read(value, seconds, now)
    end = (index + 1) * seconds
    used = int(previous * (end - at) / seconds + current)
    reset = end + seconds - now if current else end - now if previous else 0.0
    return _state(WindowState, (used, amount - used if used < amount else 0, reset, wait))


def _sliding_expiry(value: int, seconds: int) -> float:
    return float(((value >> _INDEX) + 2) * seconds)


def _sliding_unfit(values: Mapping[Any, int], seconds: int, now: float) -> list[Any]:
    index = int(now // seconds)
    low, high = (index - 1) << _INDEX, (index + 2) << _INDEX
    return [key for key, value in values.items() if not low <= value < high]


def _sliding_settled(value: int, seconds: int, now: float) -> int:
    return int(now // seconds) << _INDEX | value & ((1 << _INDEX) - 1)


# --- moving window ------------------------------------------------------------------------------

_UNIT: Final = struct.Struct("d")
_BYTES_OVERHEAD: Final = b"".__sizeof__()
UNIT_BYTES: Final = _UNIT.size


def _expired_units(value: bytes, now: float) -> int:
    if not value or _UNIT.unpack_from(value)[0] > now:
        return 0
    return bisect_right(memoryview(value).cast("d"), now)


def units_held(value: bytes | None) -> int:
    """How many units, live or expired, the value holds."""
    return len(value) // UNIT_BYTES if value else 0


def moving_counts(value: bytes | None, now: float) -> tuple[float, int]:
    """The expiry of the oldest live unit (0.0 if no unit is live), and how many units are live."""
    expired = _expired_units(value, now) if value else 0
    live = units_held(value) - expired
    if not value or not live:
        return 0.0, 0
    return _UNIT.unpack_from(value, expired * UNIT_BYTES)[0], live


def _moving_wait(value: bytes | None, amount: int, seconds: int, cost: int, now: float) -> float:
    if cost > amount:
        return float(seconds)
    if not value:
        return 0.0
    held = len(value) // UNIT_BYTES
    if held + cost <= amount:
        return 0.0
    # `cost` fits when this unit expires; its place is counted from the newest unit.
    (moment,) = _UNIT.unpack_from(value, (held - (amount - cost) - 1) * UNIT_BYTES)
    return seconds_until(moment, now, seconds) if moment > now else 0.0


def _moving_add(value: bytes | None, seconds: int, cost: int, now: float) -> bytes:
    expiry = now + seconds
    if not value:
        return _UNIT.pack(expiry) * cost
    # Not before the newest unit, so that a thread that was overtaken keeps the order.
    newest = _UNIT.unpack_from(value, len(value) - UNIT_BYTES)[0]
    units = _UNIT.pack(max(expiry, newest)) * cost
    return value[_expired_units(value, now) * UNIT_BYTES :] + units


def _moving_state(value: bytes | None, amount: int, _seconds: int, now: float, wait: float) -> WindowState:
    used = units_held(value) - _expired_units(value, now) if value else 0
    if not value or not used:
        return _state(WindowState, (0, amount, 0.0, wait))
    reset = _UNIT.unpack_from(value, len(value) - UNIT_BYTES)[0] - now
    return _state(WindowState, (used, amount - used if used < amount else 0, reset, wait))


def _moving_expiry(value: bytes, _seconds: int) -> float:
    return float(_UNIT.unpack_from(value, len(value) - UNIT_BYTES)[0])


def _moving_unfit(values: Mapping[Any, bytes], seconds: int, now: float) -> list[Any]:
    horizon = latest_expiry(now, seconds)
    newest = _UNIT.unpack_from
    return [
        key for key, units in values.items() if not now < newest(units, len(units) - UNIT_BYTES)[0] <= horizon
    ]


def _moving_settled(value: bytes, seconds: int, now: float) -> bytes:
    latest = now + seconds
    units: Iterable[float] = memoryview(value).cast("d")
    return b"".join(_UNIT.pack(min(unit, latest)) for unit in units)


def _moving_size(value: bytes) -> int:
    return rounded(_BYTES_OVERHEAD + len(value))


def _constant(sample: Value) -> Callable[[Value], int]:
    size = rounded(sample.__sizeof__())
    return lambda _value: size


FIXED_WINDOW: Final = StrategyRules(
    _fixed_wait,
    _fixed_add,
    _fixed_state,
    _fixed_expiry,
    _fixed_unfit,
    _fixed_settled,
    _constant(1j),
    elastic=False,
)
SLIDING_WINDOW_COUNTER: Final = StrategyRules(
    _sliding_wait,
    _sliding_add,
    _sliding_state,
    _sliding_expiry,
    _sliding_unfit,
    _sliding_settled,
    _constant(1 << 159),
    elastic=False,
)
MOVING_WINDOW: Final = StrategyRules(
    _moving_wait,
    _moving_add,
    _moving_state,
    _moving_expiry,
    _moving_unfit,
    _moving_settled,
    _moving_size,
    elastic=True,
)

RULES: Final[Mapping[Strategy, StrategyRules]] = {
    Strategy.FIXED_WINDOW: FIXED_WINDOW,
    Strategy.SLIDING_WINDOW_COUNTER: SLIDING_WINDOW_COUNTER,
    Strategy.MOVING_WINDOW: MOVING_WINDOW,
}
