"""What the play-back counts, by template and time to live."""

from __future__ import annotations

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats, Ints


class ReplayCounts:
    """Sums over the rows of one way into the sample; weighted where rows stand for more than themselves.

    Arrays by template, those that depend on the time to live by template and TTL.

    Args:
        templates: how many.
        ttls: how many.
    """

    def __init__(self, templates: int, ttls: int) -> None:
        by_template, by_ttl = (templates,), (templates, ttls)
        self.executions: Floats = np.zeros(by_template)
        self.duration_us: Floats = np.zeros(by_template)
        """Of all executions together."""
        self.keys: Floats = np.zeros(by_template)
        self.sampled_keys: Floats = np.zeros(by_template)
        """Without weights; only those that may as well not have been kept."""
        self.misses: Floats = np.zeros(by_ttl)
        self.missed_us: Floats = np.zeros(by_ttl)
        """Duration of the misses."""
        self.dropped_misses: Floats = np.zeros(by_ttl)
        """Where a write to a table drops what was cached of it."""
        self.dropped_missed_us: Floats = np.zeros(by_ttl)
        self.stale: Floats = np.zeros(by_ttl)
        """Hits after a write to one of their tables, where writes drop nothing."""
        self.overtaken: Floats = np.zeros(by_ttl)
        """Writes between fill and hit, over all hits."""
        self.byte_seconds: Floats = np.zeros(by_ttl)
        """Size of the cached entries times how long they live within the day."""
        # By key, of misses m and executions n with the weight w and the probability r of being kept:
        self.nn: Floats = np.zeros(by_template)
        """Sum of (1 - r) (w n)^2."""
        self.mn: Floats = np.zeros(by_ttl)
        self.mm: Floats = np.zeros(by_ttl)

    def add_keys(self, template: Ints, weight: float) -> None:
        """Count keys, each of which stands for so many."""
        found = np.bincount(template, minlength=len(self.keys))
        self.keys += weight * found
        if weight > 1.0:
            self.sampled_keys += found
