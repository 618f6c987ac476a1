"""On which line of a TOML file a key stands: `tomllib` reads values and forgets where they were.

A scan of lines, for files that `tomllib` has already accepted: it only has to tell headers, keys and
what continues over several lines apart. What it cannot find is laid to the nearest table above.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*(.+?)\s*(\]\]?)\s*(?:#.*)?$")
_KEY: Final = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'))*)\s*=(.*)$"""
)
_KEY_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_TRIPLE: Final = ('"""', "'''")


class Lines:
    """Where each key of a TOML text stands; lines count from 1."""

    def __init__(self, text: str) -> None:
        self._at: dict[Path, int] = {(): 1}
        self._scan(text.splitlines())

    def of(self, path: Sequence[str | int]) -> int:
        """The line of `path`, or of the nearest thing around it that has one."""
        place = tuple(path)
        while place not in self._at:
            place = place[:-1]
        return self._at[place]

    def _scan(self, lines: list[str]) -> None:
        table: Path = ()
        counts: dict[Path, int] = {}
        number = 0
        while number < len(lines):
            line = lines[number]
            header, key = _HEADER.match(line), _KEY.match(line)
            if header and len(header[1]) == len(header[3]):
                table = self._enter(_parts(header[2]), counts, number + 1, array=len(header[1]) > 1)
            elif key:
                path = table + _parts(key[1])
                for length in range(len(table) + 1, len(path) + 1):
                    self._at.setdefault(path[:length], number + 1)
                number += self._note_items(path, key[2], lines, number)
            number += 1

    def _enter(self, parts: Path, counts: dict[Path, int], number: int, *, array: bool) -> Path:
        path: Path = ()
        for index, part in enumerate(parts):
            path = (*path, part)
            last = index == len(parts) - 1
            if array and last:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                self._at.setdefault(path, number)
                path = (*path, counts[path])
        self._at.setdefault(path, number)
        return path

    def _note_items(self, path: Path, value: str, lines: list[str], number: int) -> int:
        """Notes the lines of an array's items; answers how many further lines the value takes."""
        text, extra = value, 0
        while not _complete(text) and number + extra + 1 < len(lines):
            extra += 1
            text += "\n" + lines[number + extra]
        if text.lstrip().startswith("["):
            for index, offset in enumerate(_item_lines(text)):
                self._at.setdefault((*path, index), number + 1 + offset)
        return extra


def _parts(text: str) -> Path:
    return tuple(_unquote(part) for part in _KEY_PART.findall(text))


def _unquote(part: str) -> str:
    return part[1:-1] if part[:1] in {'"', "'"} else part


def _complete(value: str) -> bool:
    try:
        tomllib.loads(f"x ={value}")
    except tomllib.TOMLDecodeError:
        return False
    return True


def _item_lines(array: str) -> list[int]:
    """For each item of an array's text, on which of its lines it begins."""
    lines: list[int] = []
    depth, line, fresh = 0, 0, False
    position = 0
    while position < len(array):
        character = array[position]
        if character in {'"', "'"}:
            if depth == 1 and fresh:
                lines.append(line)
                fresh = False
            end = _string_end(array, position)
            line += array.count("\n", position, end)
            position = end
            continue
        if character == "#":
            position = array.find("\n", position)
            if position < 0:
                break
            continue
        if depth == 1 and fresh and not character.isspace() and character not in "],":
            lines.append(line)
            fresh = False
        if character in "[{":
            depth += 1
            fresh = depth == 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 1:
            fresh = True
        elif character == "\n":
            line += 1
        position += 1
    return lines


def _string_end(text: str, start: int) -> int:
    quote = text[start : start + 3] if text[start : start + 3] in _TRIPLE else text[start]
    position = start + len(quote)
    while position < len(text) and not text.startswith(quote, position):
        position += 2 if text[position] == "\\" and quote[0] == '"' else 1
    return min(position + len(quote), len(text))
