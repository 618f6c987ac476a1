"""What the scripts that play workloads can be told."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from workloads import WORKLOADS, Workload

from otel_ratelimit.core.cache_assumptions import Engine

ENGINES: tuple[Engine, ...] = ("redis", "valkey")


def workload_options(scale: float) -> argparse.ArgumentParser:
    """Which workloads, how large, and how much of them is sampled."""
    options = argparse.ArgumentParser()
    options.add_argument("--workload", choices=[make.__name__ for make in WORKLOADS])
    options.add_argument("--scale", type=float, default=scale)
    options.add_argument("--rate", type=float, default=0.1)
    return options


def engine_options(options: argparse.ArgumentParser, jobs: int) -> argparse.ArgumentParser:
    """Through which engines they are played, and how many at a time."""
    options.add_argument("--engine", choices=ENGINES)
    options.add_argument("--jobs", type=int, default=jobs)
    return options


def workloads(given: argparse.Namespace) -> Iterator[Workload]:
    """Those asked for, each made when it is its turn."""
    for make in WORKLOADS:
        if given.workload in (None, make.__name__):
            yield make(given.scale)


def engines(given: argparse.Namespace) -> tuple[Engine, ...]:
    """Those asked for."""
    return ENGINES if given.engine is None else (given.engine,)
