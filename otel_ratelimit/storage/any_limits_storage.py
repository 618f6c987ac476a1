"""Counters in any other storage of the `limits` library, such as `memcached://` and `memory://`.

Such a storage cannot count in several windows in one step. So all enforced windows are read first, and only
if all of them have room, each is counted in, one after the other. If another request came between and one
window rejects the request after all, the units of fixed windows are returned, if the storage can do that;
units of other windows stay counted. Nothing is returned shortly before a window ends, because the call could
reach the next window. So a race can cost a client one unit too many, but it never lets more requests through
than the limit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

from limits.storage import MemcachedStorage, MovingWindowSupport, SlidingWindowCounterSupport, Storage

from otel_ratelimit.core.clock import Clock
from otel_ratelimit.core.counter_store import Taken, WindowState
from otel_ratelimit.core.errors import ConfigurationError, Problem
from otel_ratelimit.core.route_plan import Strategy, Window

_MAX_KEY_CHARACTERS: Final = 200
"""memcached accepts 250 characters, and `limits` appends to some keys."""
_EDGE_SECONDS: Final = 1.0
"""Nothing is returned to a window that ends sooner than this; no call to a store should take longer."""
_NEEDS: Final[dict[Strategy, type]] = {
    Strategy.FIXED_WINDOW: Storage,
    Strategy.MOVING_WINDOW: MovingWindowSupport,
    Strategy.SLIDING_WINDOW_COUNTER: SlidingWindowCounterSupport,
}


class SequentialStore:
    """A `CounterStore` on any storage of `limits`. Raises what the storage raises."""

    def __init__(self, storage: Storage, name: str, clock: Clock) -> None:
        # Which methods exist depends on the class of the storage.
        self._storage: Any = storage
        self._able = [strategy for strategy, needed in _NEEDS.items() if isinstance(storage, needed)]
        self._lower: Callable[[str, int], object] | None = getattr(storage, "decr", None)
        self._name = name
        self._clock = clock
        # memcached counts time in whole seconds, so a counter may live one second longer than requested.
        self._tick = 1.0 if isinstance(storage, MemcachedStorage) else 0.0

    @property
    def name(self) -> str:
        """The URI's scheme."""
        return self._name

    def unable(self, strategies: Iterable[Strategy]) -> list[Problem]:
        """The `strategies` that this storage does not support, as problems of its URI."""
        return [self._cannot(strategy) for strategy in sorted(set(strategies)) if strategy not in self._able]

    def take(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """As `CounterStore.take`, but not in one step; see the module's docstring."""
        seen = self.peek(windows, client, cost, now)
        if not seen.allowed or cost == 0:
            return seen
        by = self._refusing([window for window in windows if not window.shadow], client, cost)
        if by is not None:
            return self._refused(windows, client, cost, now, by)
        asked = zip(windows, seen.states, strict=True)
        if not any(window.shadow and before.exceeded for window, before in asked):
            self._refusing([window for window in windows if window.shadow], client, cost)
        states = tuple(
            self._state(window, client, 0, now)._replace(retry_after=before.retry_after)
            for window, before in zip(windows, seen.states, strict=True)
        )
        return Taken(True, states)

    def peek(self, windows: Sequence[Window], client: str, cost: int, now: float) -> Taken:
        """As `CounterStore.peek`."""
        states = tuple(self._state(window, client, cost, now) for window in windows)
        allowed = all(
            window.shadow or not state.exceeded for window, state in zip(windows, states, strict=True)
        )
        return Taken(allowed, states)

    def clear(self, windows: Sequence[Window], client: str) -> int:
        """As `CounterStore.clear`."""
        held = 0
        for window in windows:
            held += self._state(window, client, 0, self._clock()).used > 0
            if window.strategy is Strategy.SLIDING_WINDOW_COUNTER:
                self._storage.clear_sliding_window(_key(window, client), window.seconds)
            else:
                self._storage.clear(_key(window, client))
        return held

    def _add(self, window: Window, key: str, cost: int) -> bool:
        """Count `cost`; returns whether there was room."""
        if window.strategy is Strategy.MOVING_WINDOW:
            return bool(self._storage.acquire_entry(key, window.amount, window.seconds, cost))
        if window.strategy is Strategy.SLIDING_WINDOW_COUNTER:
            return bool(self._storage.acquire_sliding_window_entry(key, window.amount, window.seconds, cost))
        return int(self._storage.incr(key, window.seconds, cost)) <= window.amount

    def _refusing(self, windows: Sequence[Window], client: str, cost: int) -> Window | None:
        """Count in all windows; if one rejects, return what can be returned, and answer with that window."""
        taken: list[tuple[str, float]] = []
        for window in windows:
            key = _key(window, client)
            if self._lower is not None and window.strategy is Strategy.FIXED_WINDOW:
                taken.append((key, self._end(window, key)))
            if not self._add(window, key, cost):
                self._give_back(taken, cost)
                return window
        return None

    def _end(self, window: Window, key: str) -> float:
        """When the current window ends, or a window that would begin now."""
        end = float(self._storage.get_expiry(key))
        now = self._clock()  # read last: for a missing key, the storage returns its own current time
        return end if end > now else now + window.seconds

    def _give_back(self, taken: Sequence[tuple[str, float]], cost: int) -> None:
        for key, end in taken:
            if self._lower is not None and self._clock() + _EDGE_SECONDS < end:
                self._lower(key, cost)

    def _refused(self, windows: Sequence[Window], client: str, cost: int, now: float, by: Window) -> Taken:
        states = [self._state(window, client, cost, now) for window in windows]
        at = windows.index(by)
        if not states[at].exceeded:
            # The window has room again already, so the client may come back after the shortest time.
            states[at] = states[at]._replace(retry_after=1.0)
        return Taken(False, tuple(states))

    def _state(self, window: Window, client: str, cost: int, now: float) -> WindowState:
        if window.strategy not in self._able:
            raise ConfigurationError([self._cannot(window.strategy)])
        key = _key(window, client)
        if window.strategy is Strategy.MOVING_WINDOW:
            return self._moving(window, key, cost, now)
        if window.strategy is Strategy.SLIDING_WINDOW_COUNTER:
            return self._sliding(window, key, cost)
        used = max(0, int(self._storage.get(key)))
        reset = max(0.0, self._storage.get_expiry(key) - now) if used else 0.0
        return _seen(window, used, reset, cost, (reset or float(window.seconds)) + self._tick)

    def _cannot(self, strategy: Strategy) -> Problem:
        return Problem(
            "OTEL_RATELIMIT_STORAGE_URI",
            f"{self._name}:// cannot count by strategy {strategy.value!r}",
            f"use {' or '.join(self._able)} in the policy, or another store",
        )

    def _moving(self, window: Window, key: str, cost: int, now: float) -> WindowState:
        start, used = self._storage.get_moving_window(key, window.amount, window.seconds)
        # Only the oldest entry is known. If more than one must expire, the length of the window is always
        # enough.
        wait = start + window.seconds - now if used + cost - window.amount <= 1 else window.seconds
        # The newest entry is not known either; a window from now, all entries have expired.
        return _seen(window, used, float(window.seconds) if used else 0.0, cost, max(wait, 0.0) + 0.001)

    def _sliding(self, window: Window, key: str, cost: int) -> WindowState:
        previous, previous_ttl, current, current_ttl = self._storage.get_sliding_window(key, window.seconds)
        seconds, amount = window.seconds, window.amount
        used = math.floor(previous * previous_ttl / seconds + current)
        left = current_ttl - seconds if current else previous_ttl
        reset = left + seconds if current else left
        if current + cost > amount:
            # In the next window, the weight of what is counted in this one falls.
            wait = left + seconds - (amount - cost + 1) * seconds / max(current, 1)
            wait = max(wait, left)
        else:
            wait = previous_ttl - (amount - cost - current + 1) * seconds / max(previous, 1)
        return _seen(window, used, max(reset, 0.0), cost, max(wait, 0.0) + 0.001)


def _key(window: Window, client: str) -> str:
    """A key that every storage accepts: memcached requires short ASCII without blanks."""
    text = window.prefix + client
    key = quote(text, safe="|/:=*<>", errors="surrogatepass")
    if len(key) <= _MAX_KEY_CHARACTERS:
        return key
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _seen(window: Window, used: int, reset: float, cost: int, wait: float) -> WindowState:
    if cost > window.amount:
        wait = float(window.seconds)
    elif used + cost <= window.amount:
        wait = 0.0
    return WindowState(used, max(0, window.amount - used), reset, wait)
