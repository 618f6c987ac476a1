"""A mistake in a policy file that only a comparison of several keys shows."""

from __future__ import annotations

from typing import NamedTuple


class Contradiction(NamedTuple):
    """A mistake, and the place of the key that has it."""

    path: tuple[str | int, ...]
    what: str
    instead: str
    other: tuple[str | int, ...] = ()
    """The place that contradicts it, if any."""
