"""A class of connections or cursors, with one of ours between it and psycopg2's own."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

Warn = Callable[[str, str], None]
"""Called where a class cannot be captured, with its name and why."""


def class_below(wanted: Any, ours: type, psycopg2s: type, warn: Warn) -> Any:
    """`wanted` with `ours` between it and psycopg2's own class; `wanted` itself where that is not possible.

    Args:
        wanted: a class of connections or cursors, or any callable that makes one.
        ours: the class to stand below it.
        psycopg2s: psycopg2's class, from which both are derived.
        warn: called where that is not possible.
    """
    if wanted is psycopg2s:
        return ours
    if isinstance(wanted, type) and issubclass(wanted, ours):
        return wanted
    if isinstance(wanted, type) and issubclass(wanted, psycopg2s):
        try:
            made = types.new_class(wanted.__name__, (wanted, ours))
        except Exception as error:  # noqa: BLE001 - layouts do not go together, or a hook of the class raises
            warn(wanted.__qualname__, f"cannot have another base class ({type(error).__name__})")
            return wanted
        made.__module__, made.__qualname__ = wanted.__module__, wanted.__qualname__
        return made
    warn(getattr(wanted, "__qualname__", type(wanted).__qualname__), "is not a class")
    return wanted
