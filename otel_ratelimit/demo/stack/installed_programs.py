"""Finds programs that packages of the operating system install."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Final

from otel_ratelimit.demo.stack.errors import StackError

PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "prometheus": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager", "alertmanager"),
}
"""Debian's packages, each with the names of its program on Debian and elsewhere."""


def check_programs() -> None:
    """Check that all programs are installed.

    Raises:
        StackError: some are missing.
    """
    packages = [package for package, names in PACKAGES.items() if not any(map(shutil.which, names))]
    if packages:
        raise missing(*packages)


def find_program(package: str) -> str:
    """The path of the program of this package in `PACKAGES`.

    Raises:
        StackError: it is not installed.
    """
    for name in PACKAGES[package]:
        path = shutil.which(name)
        if path is not None:
            return path
    raise missing(package)


def missing(*packages: str) -> StackError:
    """The error for programs that are not installed."""
    return StackError(
        f"{' and '.join(packages)} {'are' if len(packages) > 1 else 'is'} not installed",
        f"apt-get install {' '.join(packages)}",
    )
