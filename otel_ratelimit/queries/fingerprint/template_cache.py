"""`hash_query` for one thread, which remembers the templates of texts."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from typing import Final

from otel_ratelimit.queries.fingerprint.lexer import is_certain
from otel_ratelimit.queries.fingerprint.long_texts import MAX_READ_CHARACTERS
from otel_ratelimit.queries.fingerprint.template import hash_query
from otel_ratelimit.queries.records import UNREADABLE, QueryTemplate

_VALUES: Final = r"""
    (?P<string>'(?:[^']++|'')*+(?:'|\Z))
  | (?P<kept>"(?:[^"]++|"")*+(?:"|\Z) | --[^\n\r]*+)
  | (?<![\w$.])(?P<number>[0-9]++(?:\.[0-9]++)?)(?![\w.])
    """
"""Strings and plain numbers, and names and comments, which may contain something that looks like them."""
_COLUMNS: Final = r"(?P<column>(?:\b[bB][yY]|[(,])[ \t\n\r\f\v]*+[0-9]{1,4}+(?![\w.])) |"
"""A number that may stand for a column to order or group by."""
_UNSURE: Final = re.compile(r"/\*|\$(?:[^\W\d]\w*+)?\$|[eE]'|[^\x00-\x7f\w]")
"""Comments nest, which no pattern can follow. An E or a dollar may end a name or start a string. Beyond
ASCII any character may be part of a name.
"""
_FLAGS: Final = re.VERBOSE | re.DOTALL
_VALUE: Final = re.compile(_VALUES, _FLAGS)
_VALUE_NOT_COLUMN: Final = re.compile(_COLUMNS + _VALUES, _FLAGS)
_HAS_COLUMNS: Final = re.compile(r"\b(?:by|on)\b", re.IGNORECASE)
_MAX_CACHED: Final = 4_096
_MAX_CACHED_CHARACTERS: Final = 8_000_000


class TemplateCache:
    """`hash_query` for one thread. It remembers the texts that were asked for last.

    An application that writes values into its SQL never sends the same text twice. So the text without its
    values is remembered as well. To make that takes a tenth of the time of reading the text.
    """

    def __init__(
        self, capacity: int = _MAX_CACHED, capacity_characters: int = _MAX_CACHED_CHARACTERS
    ) -> None:
        self._capacity = capacity
        self._capacity_characters = capacity_characters
        self._characters = 0
        self._templates: OrderedDict[str, QueryTemplate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._templates)

    def __call__(self, text: str) -> QueryTemplate:
        """The template of `text`; `UNREADABLE` if the server must have read the text in another way."""
        if text == UNREADABLE.text:
            return UNREADABLE
        # A long text is remembered by its hash, after a character that no text has.
        key = text if len(text) <= MAX_READ_CHARACTERS else f"\0{_digest(text)}"
        known = self._templates.get(key)
        if known is not None:
            self._templates.move_to_end(key)
            return known
        template = self._new(text) if is_certain(text) else UNREADABLE
        self._remember(key, template)
        return template

    def _new(self, text: str) -> QueryTemplate:
        if len(text) > MAX_READ_CHARACTERS:
            return hash_query(text)
        shape = without_values(text)
        if shape == text:
            return hash_query(text)
        template = self._templates.get(shape)
        if template is None:
            template = hash_query(shape)
            self._remember(shape, template)
        return template

    def _remember(self, text: str, template: QueryTemplate) -> None:
        if text not in self._templates:
            self._characters += len(text)
        self._templates[text] = template
        while len(self._templates) > self._capacity or self._characters > self._capacity_characters:
            forgotten, _ = self._templates.popitem(last=False)
            self._characters -= len(forgotten)


def without_values(text: str) -> str:
    """`text` with empty literals: another statement with the same template."""
    if _UNSURE.search(text):
        return text
    if not _HAS_COLUMNS.search(text):
        return _VALUE.sub(_emptied, text)
    if "--" in text:  # it may be between BY and the number
        return text
    return _VALUE_NOT_COLUMN.sub(_emptied, text)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _emptied(found: re.Match[str]) -> str:
    value = found[0]
    if found.lastgroup == "number":
        return "0.0"  # no column has this number
    if found.lastgroup == "string" and value.endswith("'"):
        return "''"
    return value
