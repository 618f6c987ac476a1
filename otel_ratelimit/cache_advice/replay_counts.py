"""Counts of the replay, by template and TTL."""

from __future__ import annotations

import numpy as np

from otel_ratelimit.cache_advice.query_day import Floats, Ints


class ReplayCounts:
    """Sums over the rows of hot keys, or of cold keys; weighted where rows stand for more than themselves.

    Arrays are by template; those that depend on the TTL are by template and TTL.

    Args:
        templates: number of templates.
        ttls: number of TTLs.
    """

    def __init__(self, templates: int, ttls: int) -> None:
        by_template, by_ttl = (templates,), (templates, ttls)
        self.executions: Floats = np.zeros(by_template)
        self.duration_us: Floats = np.zeros(by_template)
        """Duration of all executions together."""
        self.keys: Floats = np.zeros(by_template)
        self.sampled_keys: Floats = np.zeros(by_template)
        """Not weighted, and only keys that were kept by chance."""
        self.misses: Floats = np.zeros(by_ttl)
        self.missed_us: Floats = np.zeros(by_ttl)
        """Duration of the misses."""
        self.dropped_misses: Floats = np.zeros(by_ttl)
        """Misses where a write to a table drops the cached answers of that table."""
        self.dropped_missed_us: Floats = np.zeros(by_ttl)
        self.stale: Floats = np.zeros(by_ttl)
        """Hits that are older than a write to one of their tables, where writes drop nothing."""
        self.overtaken: Floats = np.zeros(by_ttl)
        """Writes between fill and hit, summed over all hits."""
        self.byte_seconds: Floats = np.zeros(by_ttl)
        """Size of the cached entries, times how long they live within the day."""
        # Sums over keys, where m are misses, n executions, w the weight, and r the probability of a key to be
        # in the sample:
        self.nn: Floats = np.zeros(by_template)
        """Sum of (1 - r) (w n)^2."""
        self.mn: Floats = np.zeros(by_ttl)
        self.mm: Floats = np.zeros(by_ttl)

    def add_keys(self, template: Ints, weight: float) -> None:
        """Count keys, each of which stands for `weight` keys."""
        found = np.bincount(template, minlength=len(self.keys))
        self.keys += weight * found
        if weight > 1.0:
            self.sampled_keys += found
