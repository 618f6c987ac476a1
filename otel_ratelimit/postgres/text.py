"""Text as PostgreSQL can keep it; what is asked for goes the same way as what is written, and is found."""

from __future__ import annotations

from typing import Final

_MOST_CHARACTERS: Final = 512
"""Of a text that a client or the application chose."""


def storable(text: str, most_characters: int = _MOST_CHARACTERS) -> str:
    """`text` without NUL and halves of surrogate pairs, and not longer than makes sense."""
    kept = text[:most_characters].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return kept.encode("utf-8", "replace").decode()


def storable_names(names: str | tuple[str, ...] | None) -> list[str] | None:
    """One name, or several, as the database has them; None stays None."""
    if names is None:
        return None
    return [storable(name) for name in ((names,) if isinstance(names, str) else names)]
