"""The sum of all sweeps, as the API tells it."""

from __future__ import annotations

from otel_ratelimit.core.counter_store import CleanupReport
from otel_ratelimit.web.api import CleanupTally, CleanupTotals


def test_before_the_first_sweep_there_is_nothing():
    assert CleanupTally(lambda: 5.0).totals() == CleanupTotals(last_at=None)


def test_sweeps_add_up_and_the_longest_pause_stays():
    tally = CleanupTally(iter([10.0, 20.0]).__next__)
    tally.cleaned(CleanupReport(3, 300, 0.5, 0.002))
    tally.cleaned(CleanupReport(1, 100, 0.1, 0.001))
    assert tally.totals() == CleanupTotals(
        runs=2,
        removed_keys=4,
        freed_bytes=400,
        last_at=20.0,
        last_duration_seconds=0.1,
        longest_pause_seconds=0.002,
    )
