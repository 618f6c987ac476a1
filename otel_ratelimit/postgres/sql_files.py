"""Reads named SQL statements from the files in the folder `statements`.

A statement begins with `-- name: its_name` and ends before the next one; comment lines after the name say
what it is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@lru_cache
def statements(file: str) -> Mapping[str, str]:
    """The statements of `statements/<file>.sql` by name, without their comments.

    Raises:
        FileNotFoundError: there is no such file.
    """
    text = (files(__package__) / "statements" / f"{file}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return MappingProxyType(
        {name: _without_comments(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}
    )


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
