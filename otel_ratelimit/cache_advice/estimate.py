"""Estimates for all executions, from the executions of the sampled keys, with an interval.

A cache could have answered N executions of a template. All executions of hot keys are known. Cold keys are
sampled, and the share p of the sampled executions that missed is applied to all cold executions:

    misses = hot misses + p (N - hot executions)

Keys are in the sample independently of each other, with probability r. For p, a ratio of sums over keys of
misses m and executions n weighted by w = 1/r, the variance is that of the residuals (Särndal, Swensson,
Wretman, Model Assisted Survey Sampling, 5.6 to 5.8):

    Var(p) = sum (1 - r) w^2 (m - p n)^2 / (sum w n)^2

Templates with few sampled keys share one p, because two keys do not tell how the others behave. The sum over
all templates needs more care: a ratio of sums is biased by as much as its denominator varies, each time in
the same direction. In the sum a template has its own p only where its denominator varies little, and the
estimates by template are scaled so that they add up to that sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from otel_ratelimit.cache_advice.query_day import Bools, Floats
from otel_ratelimit.cache_advice.replay_counts import ReplayCounts

ENOUGH_KEYS: Final = 50
"""With so many sampled keys a template's own share is used for the template."""
MAX_VARIATION: Final = 0.05
"""Up to this relative standard error of its executions a template's own share is used in the sum."""
SIGMAS: Final = 1.96
MIN_HALF_WIDTH: Final = 0.002
"""No interval is narrower: where repeats of cold keys are rare, the sample may hold no repeat."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """For executions that a cache could answer, by template, or by template and TTL."""

    executions: Floats
    unique: Floats
    """Different keys among them."""
    hits: Floats
    dropped_hits: Floats
    """Hits where a write to a table drops the cached answers of that table."""
    hit_us: Floats
    """Time that the database took for the hits."""
    dropped_hit_us: Floats
    duration_us: Floats
    """Time that the database took for all executions."""
    stale: Floats
    """Hits that are older than a write to one of their tables."""
    overtaken: Floats
    """Writes between fill and hit, summed over all hits."""
    byte_seconds: Floats
    variance: Floats
    """Variance of the hits."""
    whole_variance: Floats
    """Variance of the hits of all templates together, by TTL."""
    cold_factor: float
    """Counted cold executions, divided by those that the sample stands for."""
    is_own: Bools
    """Whether the template has a share of misses of its own."""


def half_width(variance: Floats, executions: float) -> Floats:
    """Half the width of an interval that holds the hit ratio 95 times in 100; 0 where everything is known."""
    if executions <= 0.0:
        return np.zeros_like(variance)
    deviation = np.sqrt(variance) / executions
    return np.where(deviation > 0.0, np.maximum(SIGMAS * deviation, MIN_HALF_WIDTH), 0.0)


def estimate(hot: ReplayCounts, cold: ReplayCounts, executions: Floats) -> Estimates:
    """The estimates of a day.

    Args:
        hot: counts of the keys that were kept for certain.
        cold: counts of the other sampled keys.
        executions: counted executions that a cache could answer, by template.
    """
    executions = np.maximum(executions, hot.executions)
    unseen = executions - hot.executions
    certain = (cold.sampled_keys == 0) & (cold.executions > 0)
    own = _Shares(cold, unseen, certain | (cold.sampled_keys >= ENOUGH_KEYS))
    with np.errstate(divide="ignore", invalid="ignore"):
        varies = np.sqrt(cold.nn) / cold.executions
    # A template without sampled keys does not vary at all.
    whole = _Shares(cold, unseen, certain | ((varies <= MAX_VARIATION) & (cold.sampled_keys > 0)))
    mean_us = own.mean_us(cold, hot)
    duration_us = hot.duration_us + unseen * mean_us

    def misses(of_hot: Floats, of_cold: Floats) -> Floats:
        return of_hot + _scaled_to(own.applied(of_cold), whole.applied(of_cold))

    def missed_us(of_hot: Floats, of_cold: Floats, of_cold_us: Floats) -> Floats:
        """By the template's own durations where it has its own share, otherwise by the mean."""
        applied = own.applied(of_cold)
        mean = np.where(of_cold > 0.0, of_cold_us / np.maximum(of_cold, 1e-9), mean_us[:, None])
        took = np.where(own.is_own[:, None], mean, mean_us[:, None])
        return of_hot + _scaled_to(applied, whole.applied(of_cold)) * took

    factor = own.factor[:, None]
    sampled = float(cold.executions.sum())
    return Estimates(
        executions=executions,
        unique=np.minimum(hot.keys + cold.keys * own.factor, executions),
        hits=_left(executions, misses(hot.misses, cold.misses)),
        dropped_hits=_left(executions, misses(hot.dropped_misses, cold.dropped_misses)),
        hit_us=_left(duration_us, missed_us(hot.missed_us, cold.misses, cold.missed_us)),
        dropped_hit_us=_left(
            duration_us, missed_us(hot.dropped_missed_us, cold.dropped_misses, cold.dropped_missed_us)
        ),
        duration_us=duration_us,
        stale=hot.stale + factor * cold.stale,
        overtaken=hot.overtaken + factor * cold.overtaken,
        byte_seconds=hot.byte_seconds + factor * cold.byte_seconds,
        variance=own.variance(),
        whole_variance=whole.variance().sum(axis=0),
        cold_factor=float(unseen.sum()) / sampled if sampled > 0.0 else 0.0,
        is_own=own.is_own,
    )


class _Shares:
    """Shares of misses: each template's own, or one for all other templates together.

    Args:
        cold: counts of the sample.
        unseen: executions by template that the sample stands for.
        is_own: which templates have a share of their own.
    """

    def __init__(self, cold: ReplayCounts, unseen: Floats, is_own: Bools) -> None:
        self.is_own = is_own
        self._cold = cold
        self._unseen = unseen
        self._group = np.where(is_own, np.cumsum(is_own), 0)
        self._groups = int(self._group.max(initial=0)) + 1
        self._sampled = self._summed(cold.executions)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.factor: Floats = np.where(cold.executions > 0.0, unseen / cold.executions, 0.0)
            """By template: counted executions, divided by those in the sample."""

    def applied(self, misses: Floats) -> Floats:
        """Misses of all executions by template and TTL, from the misses in the sample."""
        return self._unseen[:, None] * self._share(misses)[self._group]

    def mean_us(self, cold: ReplayCounts, hot: ReplayCounts) -> Floats:
        """Duration of a cold execution by template.

        Where the sample has no execution of a template, its hot executions stand in; where it has no hot
        ones either, its group does.
        """
        took = self._summed(cold.duration_us)
        overall = float(cold.duration_us.sum()) / max(float(cold.executions.sum()), 1e-9)
        with np.errstate(divide="ignore", invalid="ignore"):
            of_group = np.where(self._sampled > 0.0, took / self._sampled, overall)
            own = cold.duration_us / cold.executions
            of_hot = hot.duration_us / hot.executions
        otherwise = np.where(hot.executions > 0.0, of_hot, of_group[self._group])
        return np.where(cold.executions > 0.0, own, otherwise)

    def variance(self) -> Floats:
        """Variance of the misses, by template and TTL; a group's is divided among its templates by size."""
        cold, share = self._cold, self._share(self._cold.misses)
        residuals = (
            self._summed(cold.mm)
            - 2.0 * share * self._summed(cold.mn)
            + share**2 * self._summed(cold.nn)[:, None]
        )
        unseen = self._summed(self._unseen)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(self._sampled > 0.0, unseen / self._sampled, 0.0)
            part = np.where(unseen[self._group] > 0.0, self._unseen / unseen[self._group], 0.0)
        of_group = np.maximum(residuals, 0.0) * scale[:, None] ** 2
        return np.asarray(of_group[self._group] * part[:, None])

    def _share(self, misses: Floats) -> Floats:
        """By group and TTL."""
        whole = float(self._cold.executions.sum())
        # Where nothing was sampled, every execution counts as a miss.
        overall = misses.sum(axis=0) / whole if whole > 0.0 else np.ones(misses.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                self._sampled[:, None] > 0.0, self._summed(misses) / self._sampled[:, None], overall
            )

    def _summed(self, values: Floats) -> Floats:
        summed = np.zeros((self._groups, *values.shape[1:]))
        np.add.at(summed, self._group, values)
        return summed


def _scaled_to(each: Floats, whole: Floats) -> Floats:
    """`each` by template and TTL, scaled so that the sums over templates are those of `whole`."""
    sums = each.sum(axis=0)
    return each * np.where(sums > 0.0, whole.sum(axis=0) / np.maximum(sums, 1e-9), 1.0)


def _left(whole: Floats, gone: Floats) -> Floats:
    return np.clip(whole[:, None] - gone, 0.0, whole[:, None])
