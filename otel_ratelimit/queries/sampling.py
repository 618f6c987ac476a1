"""Which executions are kept: those of the hottest keys, and of other keys those that are below a threshold.

Sampling by key rather than by execution keeps all executions of a key or none, so that repeats stay
repeats (SHARDS: Waldspurger et al., Efficient MRC Construction with SHARDS, FAST '15). With the same
secret, all processes keep the same keys. The estimate would depend on whether the few hot keys happen to be
below the threshold. So hot keys are always kept, and stand only for themselves.

That is unbiased if the choice of hot keys does not depend on the threshold, and is made before the executions
in question. Therefore keys are counted whether they are kept or not, and a window's hot keys follow from the
windows before it. Which keys are hot need not be exact.

Of the executions that are kept, only some have the bytes of their result counted (`result_bytes`): the slow
ones (`SLOW_NANOSECONDS`), and a random sample of the others (`MEASURED_BITS`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from otel_ratelimit.queries.execution_key import KEY_BYTES
from otel_ratelimit.queries.frequent_keys import FrequentKeys

HOT_KEYS: Final = 1_024
WINDOW_SECONDS: Final = 60
MAX_ROWS: Final = 60_000
"""Rows of cold keys in a window; if there are more, the next windows keep fewer keys."""
MIN_HOT_EXECUTIONS: Final = 4
"""A key with fewer executions, those of earlier windows faded, does not become hot."""
FADE: Final = 15 / 16
"""Weight of an execution one window later: with little traffic, one minute is too short to rank keys."""
NOTED_ONE_IN: Final = 4
"""One execution in this many is noted to find the hot keys, among those kept and those not kept alike."""
BUSY_EXECUTIONS: Final = 30_000
"""With fewer executions in a window, every one is noted."""
PROMOTE_SECONDS: Final = 5.0
"""How often new hot keys are looked for: keys that become popular suddenly do not stay popular for long."""
MEASURED_BITS: Final = 2
"""One result in 2 to the power of this has its bytes counted: that takes as long as everything else."""
SLOW_NANOSECONDS: Final = 1_000_000
"""The results of slower queries always have their bytes counted: there it makes no difference."""
_MAX_NOTED: Final = 16_384
_MAX_HALVINGS: Final = 20
_KEYS: Final = 1 << (8 * KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Window:
    """The choice of keys that holds until the next window starts."""

    start: float
    """Unix time, seconds."""
    hot: frozenset[bytes]
    rate: float
    """Share of the keys that are kept, hot keys not included."""
    threshold: bytes
    """Keys below this are kept."""
    noted_one_in: int = 1
    """One execution in this many is noted."""


class QuerySampler:
    """The current window, and how the next one follows from it.

    `window` and `note` on any thread; the rest on the background thread.

    Args:
        rate: share of keys to keep, 0 to 1.
        hot_keys: at most this many keys are always kept.
        window_seconds: length of a window; hot keys and the rate change when a new one starts.
        most_rows: rows of cold keys in a window above which the rate goes down.
    """

    __slots__ = (
        "_frequent",
        "_halvings",
        "_hot_keys",
        "_most_rows",
        "_noted",
        "_noted_in_window",
        "_promoted_at",
        "_rate",
        "_window_seconds",
        "window",
    )

    def __init__(
        self,
        rate: float,
        *,
        hot_keys: int = HOT_KEYS,
        window_seconds: float = WINDOW_SECONDS,
        most_rows: int = MAX_ROWS,
    ) -> None:
        self._rate = rate
        self._hot_keys = hot_keys
        self._window_seconds = window_seconds
        self._most_rows = most_rows
        self._halvings = 0
        self._frequent = FrequentKeys(4 * hot_keys)
        self._noted: dict[bytes, int] = {}
        self._noted_in_window = 0
        self._promoted_at = 0.0
        self.window = Window(0.0, frozenset(), rate, threshold(rate))

    def note(self, key: bytes) -> None:
        """A key that is not kept was executed; an increment may be lost to another thread's."""
        noted = self._noted
        if key in noted or len(noted) < _MAX_NOTED:
            noted[key] = noted.get(key, 0) + 1

    def seen(self, key: bytes) -> None:
        """A key that is kept was executed."""
        self._noted_in_window += 1
        self._frequent.add(key)

    def gather(self) -> None:
        """Count what was noted since the last time."""
        noted, self._noted = self._noted, {}
        # A thread that still holds the old dictionary may add to it.
        for key, n in list(noted.items()):
            self._noted_in_window += n
            self._frequent.add(key, n)

    def is_over(self, now: float) -> bool:
        """Whether the current window is over: its time has passed, or the clock was set back."""
        return not self.window.start <= now < self.window.start + self._window_seconds

    def promote(self, now: float) -> bool:
        """Make keys hot, for the rest of the window, that have become frequent; whether there are any.

        They are looked for every few seconds only. No key stops being hot before the window ends.
        """
        if 0.0 <= now - self._promoted_at < PROMOTE_SECONDS:
            return False
        self._promoted_at = now
        window = self.window
        free = self._hot_keys - len(window.hot)
        new = [
            key
            for key, count in self._frequent.top(self._hot_keys if free > 0 else 0)
            if count >= MIN_HOT_EXECUTIONS and key not in window.hot
        ]
        if not new:
            return False
        self.window = replace(window, hot=window.hot | frozenset(new[:free]))
        return True

    def roll(self, now: float, rows_kept: int) -> None:
        """Start the window that contains `now`.

        Args:
            now: Unix time, seconds.
            rows_kept: rows of cold keys in the window that ends.
        """
        self.gather()
        self._adapt(rows_kept)
        rate = self._rate / (1 << self._halvings)
        start = now // self._window_seconds * self._window_seconds
        executions = self._noted_in_window * self.window.noted_one_in
        self._noted_in_window = 0
        one_in = NOTED_ONE_IN if executions > BUSY_EXECUTIONS else 1
        self.window = Window(start, self._next_hot(), rate, threshold(rate), one_in)
        self._frequent.fade(FADE)

    def _adapt(self, rows_kept: int) -> None:
        """Rates are halves of each other, so that a key kept at a lower rate is kept at each higher one."""
        if self._halvings and rows_kept * 4 <= self._most_rows:
            self._halvings -= 1
        while rows_kept > self._most_rows and self._halvings < _MAX_HALVINGS:
            self._halvings += 1
            rows_kept //= 2

    def _next_hot(self) -> frozenset[bytes]:
        """The most frequent keys. A hot key stays hot until it is far below the others."""
        top = self._frequent.top(2 * self._hot_keys)
        stay = [key for key, count in top if key in self.window.hot and count >= MIN_HOT_EXECUTIONS // 2]
        come = [
            key
            for key, count in top[: self._hot_keys]
            if key not in self.window.hot and count >= MIN_HOT_EXECUTIONS
        ]
        return frozenset((stay + come)[: self._hot_keys])


def threshold(rate: float) -> bytes:
    """`rate` of all keys are below this; it is above every key for a rate of 1, and below every key for 0."""
    if rate >= 1.0:
        return b"\xff" * (KEY_BYTES + 1)
    if rate <= 0.0:
        return b""
    return int(rate * _KEYS).to_bytes(KEY_BYTES, "big")
