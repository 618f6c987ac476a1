"""What an application answers to "who is this?", as text that is the same in each request of a client.

Text, bytes, whole numbers and UUIDs have such a text. Anything else may not: a model without `__str__` shows
where it lies in memory, a coroutine was never awaited, a float may be NaN. Each request would be a new
client, and no limit would apply, so these count as no answer.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Final
from uuid import UUID

WANTED: Final = "text, bytes, an int or a UUID, or None for an anonymous request"


_PLACE: Final = " at 0x"
_SHOWN_OBJECT: Final = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
"""As Python writes an object that has no text of its own; `str(user)` in the function gives it too."""


class UnusableAnswerError(TypeError):
    """An answer that cannot stand for a client; says what it is."""


def client_text(answer: object) -> str:
    """The answer as text; empty when it is nobody.

    Raises:
        UnusableAnswerError: it is of a type that cannot stand for a client.
        ValueError: it is a number too large to be written.
    """
    # Exact text first: nearly all answers are. What a subclass makes of `str()` may differ each time.
    if type(answer) is str:
        if _PLACE in answer and _SHOWN_OBJECT.search(answer):
            raise UnusableAnswerError("a text that shows where an object lies in memory")
        return answer
    # False is what `user.is_authenticated and user.id` answers for nobody.
    if answer is None or answer is False:
        return ""
    kind = type(answer)
    if issubclass(kind, str):
        return client_text(str.__str__(answer))
    if issubclass(kind, bytes):
        # Two different values are never the same text, whether they are UTF-8 or not.
        return bytes.decode(answer, "utf-8", "surrogateescape")  # type: ignore[arg-type]  # it is bytes
    if issubclass(kind, int) and answer is not True:
        return int.__repr__(answer)
    if issubclass(kind, UUID):
        return UUID.__str__(answer)
    if isinstance(answer, Coroutine):
        answer.close()  # else Python warns of it in every request
    raise UnusableAnswerError(f"an object of type {kind.__name__}")
