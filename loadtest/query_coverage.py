"""How often the interval contains the true value, when the same days are sampled with different secrets.

    python loadtest/query_coverage.py [--workload NAME] [--scale 0.25] [--rate 0.1] [--secrets 40]

The true value is the analysis of the whole log, which `replay.py` compares with engines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from options import workload_options, workloads
from sampled import sampled_day
from workloads import SECONDS, Floats, Workload

from otel_ratelimit.cache_advice.analyse import analyze_cache_potential
from otel_ratelimit.cache_advice.result import AtTtl

TTLS = (60, 600)


@dataclass(frozen=True, slots=True)
class Cell:
    """The results of all samples for one workload and TTL."""

    off: Floats
    """Prediction minus true value, points."""
    half: Floats
    """Half width of the interval, points."""
    is_held: Floats
    """1 where the interval contains the true value."""

    def told(self) -> str:
        """The cell as columns of a table."""
        return (
            f"{self.off.mean():+.2f} | {self.off.std(ddof=1):.2f} | {self.half.mean():.2f} "
            f"| {100 * self.is_held.mean():.1f}"
        )


def cells(workload: Workload, rate: float, secrets: int) -> list[Cell]:
    """One cell for each TTL."""
    truth = _by_ttl(workload, 1.0, b"everything")
    found = [_by_ttl(workload, rate, b"secret %d" % number) for number in range(secrets)]
    return [_cell(true, [by_ttl[place] for by_ttl in found]) for place, true in enumerate(truth)]


def _by_ttl(workload: Workload, rate: float, secret: bytes) -> tuple[AtTtl, ...]:
    return analyze_cache_potential(
        sampled_day(workload, rate, secret, SECONDS, processes=1), ttls=TTLS
    ).by_ttl


def _cell(true: AtTtl, found: list[AtTtl]) -> Cell:
    ratio, low, high = np.array([(at.hit_ratio, at.hit_ratio_low, at.hit_ratio_high) for at in found]).T
    return Cell(
        100 * (ratio - true.hit_ratio),
        50 * (high - low),
        ((low <= true.hit_ratio) & (true.hit_ratio <= high)).astype(np.float64),
    )


def main() -> None:
    """Print a row for each workload and TTL, and the share of all intervals that contain the true value."""
    options = workload_options(scale=0.25)
    options.add_argument("--secrets", type=int, default=40)
    given = options.parse_args()
    held: list[Floats] = []
    print("| workload | TTL s | bias | sd | half width | held % |")
    print("|---" * 6 + "|", flush=True)
    for workload in workloads(given):
        for ttl, cell in zip(TTLS, cells(workload, given.rate, given.secrets), strict=True):
            print(f"| {workload.name} | {ttl} | {cell.told()} |", flush=True)
            held.append(cell.is_held)
    print(f"{100 * np.concatenate(held).mean():.1f} % of {sum(map(len, held))} intervals")


if __name__ == "__main__":
    main()
