"""Command-line options of the scripts that replay workloads."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from workloads import WORKLOADS, Workload

from otel_ratelimit.core.cache_assumptions import Engine

ENGINES: tuple[Engine, ...] = ("redis", "valkey")


def workload_options(scale: float) -> argparse.ArgumentParser:
    """Options for the workloads, their size, and the share that is sampled."""
    options = argparse.ArgumentParser()
    options.add_argument("--workload", choices=[make.__name__ for make in WORKLOADS])
    options.add_argument("--scale", type=float, default=scale)
    options.add_argument("--rate", type=float, default=0.1)
    return options


def engine_options(options: argparse.ArgumentParser, jobs: int) -> argparse.ArgumentParser:
    """Options for the engines, and the number of replays at the same time."""
    options.add_argument("--engine", choices=ENGINES)
    options.add_argument("--jobs", type=int, default=jobs)
    return options


def workloads(given: argparse.Namespace) -> Iterator[Workload]:
    """The workloads asked for; each is made when it is needed."""
    for make in WORKLOADS:
        if given.workload in (None, make.__name__):
            yield make(given.scale)


def engines(given: argparse.Namespace) -> tuple[Engine, ...]:
    """The engines asked for."""
    return ENGINES if given.engine is None else (given.engine,)
