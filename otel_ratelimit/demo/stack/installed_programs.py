"""Programs that the operating system brings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Final

from otel_ratelimit.demo.stack.errors import StackError

PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "prometheus": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager", "alertmanager"),
}
"""Of Debian, each with the names that its program has, here or elsewhere."""


def find_programs() -> None:
    """Nothing, if all are there.

    Raises:
        StackError: some are not.
    """
    packages = [package for package, names in PACKAGES.items() if not any(map(shutil.which, names))]
    if packages:
        raise missing(*packages)


def find_program(package: str) -> str:
    """The path of the program that this package of `PACKAGES` has.

    Raises:
        StackError: there is none.
    """
    for name in PACKAGES[package]:
        path = shutil.which(name)
        if path is not None:
            return path
    raise missing(package)


def missing(*packages: str) -> StackError:
    """The error for programs that are not there."""
    return StackError(
        f"{' and '.join(packages)} {'are' if len(packages) > 1 else 'is'} not installed",
        f"apt-get install {' '.join(packages)}",
    )
