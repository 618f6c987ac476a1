"""The line of each key in a TOML file, for messages: `tomllib` returns values without their lines.

The scanner reads a text that `tomllib` has already accepted, so it only has to find where keys and values
begin and end (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRINGS: Final = (
    r'"""(?:[^\\]|\\.)*?"{3,5}',
    r"'''.*?'{3,5}",
    r'"(?:[^"\\]|\\.)*"',
    r"'[^']*'",
)
_STRING: Final = re.compile("|".join(_STRINGS), re.DOTALL)
_BARE_VALUE: Final = re.compile(r"[^,\]}\n#]*")
_KEY: Final = re.compile(r"""(?:[A-Za-z0-9_.\- \t]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')+""")


class TomlLines:
    """The line of each key of a TOML text; the first line is 1.

    Args:
        text: a text that `tomllib` has accepted. For any other text, each result is still one of its lines.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._at: dict[Path, int] = {(): 1}
        self._last: dict[Path, int] = {}
        self._scan()

    def of(self, path: Sequence[str | int]) -> int:
        """The line of `path`, or of the nearest table or list around it that has a line."""
        place = tuple(path)
        while place not in self._at:
            place = place[:-1]
        return self._at[place]

    def _scan(self) -> None:
        table: Path = ()
        position = self._blank(0)
        while position < len(self._text):
            start = position
            if self._text[position] == "[":
                position, table = self._header(position)
            else:
                position = self._key_and_value(position, table)
            # If nothing was read, the text is not TOML; go on with the next character.
            position = self._blank(max(position, start + 1))

    def _blank(self, position: int) -> int:
        found = _BLANK.match(self._text, position)
        return found.end() if found else position

    def _key(self, position: int) -> tuple[int, Path]:
        found = _KEY.match(self._text, position)
        return (found.end(), _parts(found.group())) if found else (position, ())

    def _note(self, path: Path, position: int) -> None:
        line = bisect_right(self._ends, position - 1) + 1
        for length in range(len(path), 0, -1):
            if path[:length] in self._at:
                return
            self._at[path[:length]] = line

    def _header(self, position: int) -> tuple[int, Path]:
        array = self._text.startswith("[[", position)
        end, parts = self._key(position + 1 + array)
        path: Path = ()
        for index, part in enumerate(parts):
            path = (*path, part)
            if array and index == len(parts) - 1:
                self._last[path] = self._last.get(path, -1) + 1
            if path in self._last:
                path = (*path, self._last[path])
        self._note(path, position)
        return end + 1 + array, path

    def _key_and_value(self, position: int, table: Path) -> int:
        end, parts = self._key(position)
        path = table + parts
        self._note(path, position)
        return self._value(self._blank(end + 1), path)

    def _value(self, position: int, path: Path) -> int:
        """Record the lines inside the value, and return where it ends."""
        if self._text[position : position + 1] not in {"[", "{"}:
            found = _STRING.match(self._text, position) or _BARE_VALUE.match(self._text, position)
            return found.end() if found else position
        table, index = self._text[position] == "{", 0
        position = self._blank(position + 1)
        while position < len(self._text) and self._text[position] not in "]}":
            start = position
            if table:
                position = self._key_and_value(position, path)
            else:
                self._note((*path, index), position)
                position = self._value(position, (*path, index))
                index += 1
            position = self._blank(position)
            if self._text[position : position + 1] == "," or position == start:
                position = self._blank(position + 1)
        return position + 1


def _parts(text: str) -> Path:
    try:
        node = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str | int] = []
    inner: object = node
    while isinstance(inner, dict):
        (part,) = inner
        parts.append(part)
        inner = inner[part]
    return tuple(parts)
