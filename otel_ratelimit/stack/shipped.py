"""Where `collector/` is: beside the package in a clone, within it where it was installed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """The folder `name` (`collector`, `dashboards`)."""
    within = _PACKAGE / "_shipped" / name
    return within if within.is_dir() else _PACKAGE.parent / name
