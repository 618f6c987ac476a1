"""Finds installed packages that do not fit this one: too old, of two generations, or installed twice.

pip allows all of these: an application pins an older Flask; `psycopg2` and `psycopg2-binary` own the same
files; releases of OpenTelemetry's core and of its instrumentations belong together in pairs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import metadata
from typing import Final, TypeAlias

from otel_ratelimit.core.errors import Problem

_logger = logging.getLogger(__name__)

VersionOf: TypeAlias = Callable[[str], str | None]
"""The version of an installed distribution, or None."""

DISTRIBUTION: Final = "otel-ratelimit"
PAGE: Final = "docs/how-to/install.md"
AT_START: Final = ("flask", "flask-limiter", "limits")
"""Packages that applications pin most often; `otel-ratelimit doctor` checks the others too."""

_DRIVERS: Final = ("psycopg2", "psycopg2-binary")
_CORE: Final = ("opentelemetry-api", "opentelemetry-sdk")
_CONTRIB: Final = (
    "opentelemetry-semantic-conventions",
    "opentelemetry-instrumentation",
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-psycopg2",
    "opentelemetry-distro",
)
_PAIR_OFFSET: Final = 21
"""Core 1.N and contrib 0.(N + 21)b are released together: 1.45 and 0.66b."""

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)")
_BOUND: Final = re.compile(r"(>=|<)\s*([\d.]+)")


def installed(name: str) -> str | None:
    """The version of `name`; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def own_requirements() -> list[str]:
    """The requirements of this distribution, without its extras; empty where it runs uninstalled."""
    try:
        needed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return [each for each in needed if "extra ==" not in each]


def version_problems(
    requirements: Sequence[str], version_of: VersionOf = installed, only: Sequence[str] = ()
) -> Iterator[Problem]:
    """Requirements that are not met; only those named in `only`, if any are named."""
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        name, bounds = (match[1], match[2].strip()) if match else ("", "")
        if not name or (only and name.lower() not in only):
            continue
        found = version_of(name)
        if found is None:
            if name in _DRIVERS and any(version_of(driver) for driver in _DRIVERS):
                continue  # the same driver under its other name
            yield Problem(name, "is not installed", f'pip install "{name}{bounds}"')
        elif not _meets(found, bounds):
            what = f"{found} is installed, and {DISTRIBUTION} needs {bounds}"
            yield Problem(name, what, f'pip install "{name}{bounds}"; see {PAGE}')


def _meets(version: str, bounds: str) -> bool:
    found = _numbers(version)
    for sign, text in _BOUND.findall(bounds):
        bound = _numbers(text)
        width = max(len(found), len(bound))
        one, other = (numbers + (0,) * (width - len(numbers)) for numbers in (found, bound))
        if (sign == ">=" and one < other) or (sign == "<" and one >= other):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """The release numbers alone: (0, 66) for `0.66b1`."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def pair_problems(version_of: VersionOf = installed) -> Iterator[Problem]:
    """Parts of OpenTelemetry that were not released together."""
    core = {name: version for name in _CORE if (version := version_of(name))}
    minors = {_numbers(version)[:2] for version in core.values()}
    if len(minors) > 1:
        listed = " and ".join(f"{name} {version}" for name, version in core.items())
        yield Problem("opentelemetry", f"{listed} were not released together", "install one version of both")
    if not core:
        return
    _, *minor = max(minors)
    if not minor:
        return
    wanted = minor[0] + _PAIR_OFFSET
    for name in _CONTRIB:
        version = version_of(name)
        if version and _numbers(version)[:2] != (0, wanted):
            yield Problem(
                name,
                f"{version} belongs to another release of OpenTelemetry than 1.{minor[0]}",
                f'pip install "{name}>=0.{wanted}b0,<0.{wanted + 1}b0"',
            )


def driver_problems(version_of: VersionOf = installed) -> Iterator[Problem]:
    """psycopg2 installed twice: the later one has overwritten the files of the other."""
    source, wheel = (version_of(name) for name in _DRIVERS)
    if source and wheel:
        yield Problem(
            "psycopg2",
            f"psycopg2 {source} and psycopg2-binary {wheel} are both installed and own the same files",
            f"keep one of them; see {PAGE}",
        )


@cache
def problems_at_start() -> tuple[Problem, ...]:
    """The problems that are logged at the start; looked up once in a process, within a few milliseconds."""
    return (*version_problems(own_requirements(), only=AT_START), *driver_problems())


def warn_of_neighbours() -> None:
    """Log each problem with the packages around this one."""
    for problem in problems_at_start():
        _logger.warning("%s", problem)
