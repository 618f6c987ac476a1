"""Variations of one test, of which `make test` runs some and `make test-all` all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick_first(values: Iterable[Any], number: int = 1) -> list[Any]:
    """Arguments of `pytest.mark.parametrize`: all but the first `number` are marked `full`.

    Args:
        values: as `parametrize` takes them: tuples where it is given several names.
        number: how many are for `make test` as well.
    """
    return [value if at < number else _full(value) for at, value in enumerate(values)]


def _full(value: Any) -> Any:
    arguments = value if isinstance(value, tuple) else (value,)
    return pytest.param(*arguments, marks=pytest.mark.full)
