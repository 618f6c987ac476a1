"""A tenth of the keys gives the share of repeats as if all had been kept; coin flips cannot."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import random
import statistics
import sys

import pytest
from duplicate_share import duplicate_share

from otel_ratelimit.queries.sampling import QuerySampler, threshold

RATE = 0.1
EXECUTIONS = 240_000
KEYS = 12_000
PROCESSES = 2
WINDOWS = 12
SECRETS = 30


class Row:
    __slots__ = ("key", "n", "sample_rate", "tier")

    def __init__(self, key, tier, sample_rate):
        self.key, self.n, self.tier, self.sample_rate = key, 1, tier, sample_rate


def zipf(skew):
    """Numbers of keys, drawn with the frequency 1 / rank ^ skew."""
    weights = list(itertools.accumulate(1 / rank**skew for rank in range(1, KEYS + 1)))
    draw = random.Random(f"zipf {skew}")
    return [bisect.bisect(weights, draw.random() * weights[-1]) for _ in range(EXECUTIONS)]


def sampled(stream, keys):
    """Rows as two processes keep them, each with its own hot keys, window after window."""
    samplers = [QuerySampler(RATE, hot_keys=256) for _ in range(PROCESSES)]
    size = len(stream) // WINDOWS
    kept = {}
    for number in range(WINDOWS):
        for process, sampler in enumerate(samplers):
            sampler.roll(60.0 * number, 0)
            window = sampler.window
            for index in stream[number * size + process : (number + 1) * size : PROCESSES]:
                key = keys[index]
                if key in window.hot:
                    kept[key, "hot"] = Row(key, "hot", 1.0)
                    sampler.seen(key)
                elif key < window.threshold:
                    kept.setdefault((key, "cold"), Row(key, "cold", RATE))
                    sampler.seen(key)
                else:
                    sampler.note(key)
    return kept.values(), size * WINDOWS


@pytest.mark.full
@pytest.mark.untraced
@pytest.mark.parametrize("skew", [0.7, 0.9, 1.0, 1.2])
def test_a_tenth_of_the_keys_is_as_good_as_all_and_a_tenth_of_the_executions_is_not(skew, capsys):
    stream = zipf(skew)
    size = len(stream) // WINDOWS * WINDOWS
    true = 1 - len(set(stream[:size])) / size
    errors, by_key_alone, by_coin = [], [], []
    for number in range(SECRETS):
        secret = f"secret {number}".encode()
        keys = [
            hashlib.blake2b(index.to_bytes(4, "big"), key=secret, digest_size=16).digest()
            for index in range(KEYS + 1)
        ]
        rows, executions = sampled(stream, keys)
        errors.append(duplicate_share(rows, executions).share - true)
        below = threshold(RATE)
        spatial = [index for index in stream[:size] if keys[index] < below]
        by_key_alone.append(1 - len(set(spatial)) / len(spatial) - true)
        coin = random.Random(secret)
        flipped = [index for index in stream[:size] if coin.random() < RATE]
        by_coin.append(1 - len(set(flipped)) / len(flipped) - true)
    table = [f"skew {skew}, true share {true:.1%}; errors in points, mean / deviation / largest"]
    for name, found in (("coin", by_coin), ("key alone", by_key_alone), ("hot and key", errors)):
        points = [100 * error for error in found]
        spread = f"{statistics.stdev(points):6.2f} {max(map(abs, points)):7.2f}"
        table.append(f"  {name:12} {statistics.mean(points):+7.2f} {spread}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(table) + "\n")
    assert max(map(abs, errors)) < 0.005
    assert statistics.mean(by_coin) < -0.05
