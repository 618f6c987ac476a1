"""Text in a form that PostgreSQL can store; queries use the same form, so that they match."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from otel_ratelimit.core.errors import DataRejectedError

_MAX_CHARACTERS: Final = 512
"""The limit for a text that a client or the application chose."""


def storable(text: str, max_characters: int = _MAX_CHARACTERS) -> str:
    """`text` without NUL and unpaired surrogates, cut to `max_characters`."""
    kept = text[:max_characters].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return kept.encode("utf-8", "replace").decode()


def storable_names(names: str | tuple[str, ...] | None) -> list[str] | None:
    """One or several names as the database stores them; None stays None."""
    if names is None:
        return None
    return [storable(name) for name in ((names,) if isinstance(names, str) else names)]


def json_rows(rows: Iterable[Mapping[str, object]]) -> str:
    """`rows`, which may be an iterator, as the JSON parameter of a statement.

    Raises:
        DataRejectedError: a value cannot be stored in a column; the message quotes no value.
    """
    try:
        return json.dumps(list(rows), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        # Only the class: the message, and its cause, may quote the value.
        raise DataRejectedError(f"a row cannot be serialised ({type(error).__name__})") from None
