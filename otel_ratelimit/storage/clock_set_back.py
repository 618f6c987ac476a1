"""Counters after the clock of the host was set back: their expiry lies too far in the future then.

A new counter expires one window from now, so a later expiry shows that the clock was set back. Such a
counter could refuse its client for as long as the clock was wrong. Two rules prevent that: a refused client
has to wait for one window at most (`seconds_until`), and the sweeper dates counters beyond `latest_expiry` as
if they were counted now (`StrategyRules.settled`). The sliding-window counter stores the number of its window
instead of an expiry; a value of the next window is accepted there.
"""

from __future__ import annotations

from math import inf, nextafter
from typing import Final

CLOCK_SLACK_SECONDS: Final = 1.0
"""A value this far in the future is explained by threads that overtook each other, not by the clock."""


def latest_expiry(now: float, seconds: int) -> float:
    """The latest expiry that a counter with a window of `seconds` can have unless the clock was set back."""
    return now + seconds + CLOCK_SLACK_SECONDS


def seconds_until(moment: float, now: float, seconds: int) -> float:
    """Seconds from `now` to `moment`, rounded up so that `now` plus the result reaches `moment`."""
    wait = moment - now
    if wait > seconds + CLOCK_SLACK_SECONDS:  # the clock was set back; the sweeper corrects the value
        return float(seconds)
    while now + wait < moment:
        wait = nextafter(wait, inf)
    return wait
