"""Which executions are kept: those of the hottest keys, and of the rest those whose key is below a threshold.

Sampling by key rather than by execution keeps all executions of a key or none, so that repeats stay
repeats (SHARDS: Waldspurger et al., Efficient MRC Construction with SHARDS, FAST '15); with the same
secret everywhere, all processes keep the same keys. A few hot keys would make that estimate depend on
whether they happen to be below the threshold; they are kept always, and count for themselves alone.

That is unbiased if who is hot does not depend on the threshold, and is known before the executions in
question: keys are counted whether they are kept or not, and a window's hot keys follow from the windows
before it. Only who is hot may be inexact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from otel_ratelimit.queries.execution_key import KEY_BYTES
from otel_ratelimit.queries.hot_keys import FrequentKeys

HOT_KEYS: Final = 1_024
WINDOW_SECONDS: Final = 60
MAX_ROWS: Final = 60_000
"""Rows of cold keys in a window; beyond it the next windows keep fewer keys."""
LEAST_HOT: Final = 4
"""Executions, those of earlier windows faded, below which no key is worth being hot."""
FADE: Final = 15 / 16
"""What an execution counts for a window later: with little traffic, a minute alone tells nobody apart."""
NOTED_ONE_IN: Final = 4
"""Executions by which it is told which keys are hot: one in so many, of those kept and of those not alike."""
BUSY_EXECUTIONS: Final = 30_000
"""In a window; with fewer, every one is noted."""
PROMOTE_SECONDS: Final = 5.0
"""How often it is looked whether more keys have become hot: what is on everybody's lips is soon forgotten."""
_MAX_NOTED: Final = 16_384
_MAX_HALVINGS: Final = 20
_KEYS: Final = 1 << (8 * KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Window:
    """What holds until the next edge."""

    start: float
    """Unix time, seconds."""
    hot: frozenset[bytes]
    rate: float
    """Share of the keys that are kept, the hot ones apart."""
    threshold: bytes
    """Keys below it are kept."""
    noted_one_in: int = 1
    """Executions of which one is noted."""


class QuerySampler:
    """The present window, and how the next one follows from it.

    `window` and `note` on any thread; the rest on the background thread.

    Args:
        rate: share of keys to keep, 0 to 1.
        hot_keys: how many keys are kept always, at most.
        window_seconds: time between two edges, at which hot keys and the rate may change.
        most_rows: rows of cold keys that a window may bring before the rate goes down.
    """

    __slots__ = (
        *(
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
        ),
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
        """A key that was not kept was executed; an increment may be lost to another thread's."""
        noted = self._noted
        if key in noted or len(noted) < _MAX_NOTED:
            noted[key] = noted.get(key, 0) + 1

    def seen(self, key: bytes) -> None:
        """A key that was kept was executed."""
        self._noted_in_window += 1
        self._frequent.add(key)

    def gather(self) -> None:
        """Take in what was noted since the last time."""
        noted, self._noted = self._noted, {}
        # A thread that still holds the old one may add to it yet.
        for key, n in list(noted.items()):
            self._noted_in_window += n
            self._frequent.add(key, n)

    def is_over(self, now: float) -> bool:
        """Whether the present window is: the edge has passed, or the clock was set back."""
        return not self.window.start <= now < self.window.start + self._window_seconds

    def promote(self, now: float) -> bool:
        """Let those be hot for the rest of the window that have become so since; whether there are any.

        Looked at every few seconds only. None goes before the window ends.
        """
        if 0.0 <= now - self._promoted_at < PROMOTE_SECONDS:
            return False
        self._promoted_at = now
        window = self.window
        free = self._hot_keys - len(window.hot)
        new = [
            key
            for key, count in self._frequent.top(self._hot_keys if free > 0 else 0)
            if count >= LEAST_HOT and key not in window.hot
        ]
        if not new:
            return False
        self.window = replace(window, hot=window.hot | frozenset(new[:free]))
        return True

    def roll(self, now: float, rows_kept: int) -> None:
        """Begin the window that `now` is in.

        Args:
            now: Unix time, seconds.
            rows_kept: of cold keys, in the window that ends.
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
        """Rates are halves of each other: who is kept at the lower one is kept at the higher one."""
        if self._halvings and rows_kept * 4 <= self._most_rows:
            self._halvings -= 1
        while rows_kept > self._most_rows and self._halvings < _MAX_HALVINGS:
            self._halvings += 1
            rows_kept //= 2

    def _next_hot(self) -> frozenset[bytes]:
        """The most frequent; one that is hot stays so until it is far from it."""
        top = self._frequent.top(2 * self._hot_keys)
        stay = [key for key, count in top if key in self.window.hot and count >= LEAST_HOT // 2]
        come = [
            key for key, count in top[: self._hot_keys] if key not in self.window.hot and count >= LEAST_HOT
        ]
        return frozenset((stay + come)[: self._hot_keys])


def threshold(rate: float) -> bytes:
    """Keys below this are `rate` of all keys; above every key for 1, below every one for 0."""
    if rate >= 1.0:
        return b"\xff" * (KEY_BYTES + 1)
    if rate <= 0.0:
        return b""
    return int(rate * _KEYS).to_bytes(KEY_BYTES, "big")
