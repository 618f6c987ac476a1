"""How a validator says what is wrong and what would be right, in two parts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import date, time
from typing import Final

_MAX_SHOWN: Final = 120


class Wrong(ValueError):  # noqa: N818 - never leaves this package; it becomes a Problem
    """A value that cannot be used."""

    def __init__(self, what: str, instead: str = "") -> None:
        self.what = what
        self.instead = instead
        super().__init__(what)


def shown(value: object) -> str:
    """`value` as a message shows it: as it is written, cut where it is long."""
    if isinstance(value, date | time):
        return str(value)
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` where something known is near, else the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
