"""Text as PostgreSQL can keep it; what is asked for goes the same way as what is written, and is found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from otel_ratelimit.core.errors import DataRejectedError

_MAX_CHARACTERS: Final = 512
"""Of a text that a client or the application chose."""


def storable(text: str, most_characters: int = _MAX_CHARACTERS) -> str:
    """`text` without NUL and halves of surrogate pairs, and not longer than makes sense."""
    kept = text[:most_characters].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return kept.encode("utf-8", "replace").decode()


def storable_names(names: str | tuple[str, ...] | None) -> list[str] | None:
    """One name, or several, as the database has them; None stays None."""
    if names is None:
        return None
    return [storable(name) for name in ((names,) if isinstance(names, str) else names)]


def json_rows(rows: Iterable[Mapping[str, object]]) -> str:
    """`rows`, which may be made as they are asked for, as a statement takes them.

    Raises:
        DataRejectedError: one of them holds what has no place in a column; the message quotes no value.
    """
    try:
        return json.dumps(list(rows), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        # The class alone: a message may quote the value, and so may what caused it.
        raise DataRejectedError(f"a row cannot be serialised ({type(error).__name__})") from None
