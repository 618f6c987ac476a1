"""The error of a validator, which says what is wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import date, time
from typing import Final

_MAX_SHOWN: Final = 120


class InvalidValueError(ValueError):
    """A value in the policy that cannot be used; the loader turns it into a `Problem` with its place."""

    def __init__(self, what: str, instead: str = "") -> None:
        self.what = what
        self.instead = instead
        super().__init__(what)


def shown(value: object) -> str:
    """`value` as it is written in messages, shortened if it is long."""
    if isinstance(value, date | time):
        return str(value)
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` if a known name is similar, otherwise the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
