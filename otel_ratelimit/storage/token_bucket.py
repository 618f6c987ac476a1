"""The arithmetic of the token bucket, as pure functions of one counter's value; `take.lua` has the same.

This is the generic cell rate algorithm (GCRA, ITU-T I.371). The value is the theoretical arrival time: the
time at which the bucket is full again. A unit moves it `period / capacity` seconds ahead, from now if it has
passed. A request fits if that leads to at most `period` ahead of now.

    complex(time, correction): two floats in 32 bytes; the exact time is their sum

A float at today's time has steps of 0.24 µs. Rounded to those, a million units per second would be counted
with an error of 5 % for each unit, which never averages out. So the rounding error of each addition is kept
as the correction (compensated summation, Kahan, CACM 8(1), 1965), and counts towards the next addition.

Precision: a unit counts with an error of at most 2^-51 of its time, so that 10^9 units in a row are counted
with an error below a millionth of a unit. How many units are free is rounded down after the addition of 2^-40
of a unit and 2^-48 of what is taken, so that no rounding error takes a unit away. So a unit may be free
earlier by that part of its time, but what is taken is always counted in full. All figures (`used`,
`remaining`, whether a request fits) are made of the same expression and never contradict each other.

A time that is further ahead than the period (the burst was lowered, or the clock was set back) reads as a
bucket that is empty now. `retry_after` is then the period; see `clock_set_back`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf, nextafter
from typing import Any, Final

from otel_ratelimit.core.counter_store import WindowState
from otel_ratelimit.storage.clock_set_back import CLOCK_SLACK_SECONDS

_KEPT: Final = 1.0 - 2.0**-48
_TINY: Final = 2.0**-40
_STEP_SECONDS: Final = 2.0**-22
"""The distance of two floats at today's time."""

_state: Final = tuple.__new__
"""Builds a NamedTuple in half the time of calling its class."""


def bucket_wait(value: complex | None, capacity: int, period: float, cost: int, now: float) -> float:
    """Seconds until the bucket holds `cost` units; 0.0 if it holds them now."""
    left = capacity - cost
    if left < 0:
        return period
    if value is None:
        return 0.0
    ahead = value.real - now + value.imag
    if ahead * capacity / period * _KEPT - _TINY <= left or not cost:
        return 0.0
    if ahead > period + CLOCK_SLACK_SECONDS:
        return period
    wait = max(ahead - left * period / capacity, 0.0)
    step = _STEP_SECONDS
    # Rounded up, so that `now` plus the result is a time at which the cost fits.
    while (value.real - (now + wait) + value.imag) * capacity / period * _KEPT - _TINY > left:
        wait += step
        step *= 2
    return wait


def bucket_add(value: complex | None, capacity: int, period: float, cost: int, now: float) -> complex:
    """The value with `cost` units taken."""
    step = cost * period / capacity
    start = now
    if value is not None and value.real - now + value.imag > 0.0:
        start = value.real
        step += value.imag
    time = start + step
    added = time - start
    return complex(time, start - (time - added) + (step - added))


def bucket_state(value: complex | None, capacity: int, period: float, now: float, wait: float) -> WindowState:
    """The state to report."""
    ahead = 0.0 if value is None else value.real - now + value.imag
    if ahead <= 0.0:
        return _state(WindowState, (0, capacity, 0.0, wait))
    if ahead >= period:
        return _state(WindowState, (capacity, 0, period, wait))
    used = ceil(ahead * capacity / period * _KEPT - _TINY)
    return _state(WindowState, (used, capacity - used, ahead, wait))


def bucket_expiry(value: complex, _period: float) -> float:
    """The first float that is not before the time at which the bucket is full."""
    return value.real if value.imag <= 0.0 else nextafter(value.real, inf)


def bucket_unfit(values: Mapping[Any, complex], period: float, now: float) -> list[Any]:
    """Keys whose bucket is full, or will be so only after a period and the clock's slack."""
    horizon = period + CLOCK_SLACK_SECONDS
    return [key for key, value in values.items() if not 0.0 < value.real - now + value.imag <= horizon]


def bucket_settled(_value: complex, period: float, now: float) -> complex:
    """The value of a bucket that was emptied now."""
    return complex(now + period, 0.0)
