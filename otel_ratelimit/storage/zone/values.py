"""How the value of each strategy lies in a slot: a time and a word of 64 bits.

    strategy                 time                             word
    fixed-window             end of the window                units used
    sliding-window-counter   end of the next window           units of this window << 32 | of the one before
    token-bucket             when the bucket is full again    the correction of that time, a float of 64 bits

The time is Unix time in seconds, and always the moment from which the counter has no effect. So a slot whose
time has come is free, whatever its strategy is.

The values that `load` makes and `dump` takes are those of `otel_ratelimit.storage.strategies`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.storage.clock_set_back import latest_expiry
from otel_ratelimit.storage.strategies import RULES, StrategyRules, Value

MAX_SLIDING: Final = (1 << 32) - 1
"""The most units that a sliding-window counter can hold; a larger amount is never used up."""
MAX_WORD: Final = (1 << 64) - 1
"""The most units that a fixed window can hold."""
_WORD: Final = struct.Struct("@Q")
_FLOAT: Final = struct.Struct("@d")
_SHIFT: Final = 32
_BITS: Final = 64
_INDEX: Final = 2 * _BITS


class ValueForm(NamedTuple):
    """The form of one strategy's values in a slot."""

    number: int
    """The number that stands for the strategy in a zone."""
    rules: StrategyRules
    load: Callable[[float, int, float], Value]
    """(time, word, period): the value."""
    dump: Callable[[Value, float], tuple[float, int]]
    """(value, period): time and word."""
    latest: Callable[[float, float], float]
    """(now, period): the latest time that a counter can have unless the clock was set back."""


def _load_fixed(time: float, word: int, _period: float) -> complex:
    return complex(time, word)


def _dump_fixed(value: complex, _period: float) -> tuple[float, int]:
    return value.real, min(int(value.imag), MAX_WORD)


def _load_sliding(time: float, word: int, period: float) -> int:
    index = int(time // period) - 2
    return index << _INDEX | (word & MAX_SLIDING) << _BITS | word >> _SHIFT


def _dump_sliding(value: int, period: float) -> tuple[float, int]:
    previous, current = value >> _BITS & (1 << _BITS) - 1, value & (1 << _BITS) - 1
    end = ((value >> _INDEX) + 2) * period
    return float(end), min(current, MAX_SLIDING) << _SHIFT | min(previous, MAX_SLIDING)


def _latest_sliding(now: float, period: float) -> float:
    """The end of the window after the next one, because a process may be a moment ahead."""
    return (now // period + 3) * period


def _load_bucket(time: float, word: int, _period: float) -> complex:
    return complex(time, _FLOAT.unpack(_WORD.pack(word))[0])


def _dump_bucket(value: complex, _period: float) -> tuple[float, int]:
    return value.real, _WORD.unpack(_FLOAT.pack(value.imag))[0]


FORMS: Final[Mapping[Strategy, ValueForm]] = {
    Strategy.FIXED_WINDOW: ValueForm(
        1, RULES[Strategy.FIXED_WINDOW], _load_fixed, _dump_fixed, latest_expiry
    ),
    Strategy.SLIDING_WINDOW_COUNTER: ValueForm(
        2, RULES[Strategy.SLIDING_WINDOW_COUNTER], _load_sliding, _dump_sliding, _latest_sliding
    ),
    Strategy.TOKEN_BUCKET: ValueForm(
        3, RULES[Strategy.TOKEN_BUCKET], _load_bucket, _dump_bucket, latest_expiry
    ),
}
"""The strategies that a zone can count by. A moving window has no fixed size."""

BY_NUMBER: Final[Mapping[int, ValueForm]] = {form.number: form for form in FORMS.values()}
