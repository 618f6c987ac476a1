"""The answer of an application's function, as a text that is the same in every request of a client.

Text, bytes, whole numbers and UUIDs have such a text. Other types may not: a model without `__str__` shows
its address in memory, a coroutine was never awaited, a float may be NaN. Then each request would be a new
client, and no limit would apply. So other types are treated as a failure of the function.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Final
from uuid import UUID

WANTED: Final = "text, bytes, an int or a UUID, or None for an anonymous request"


_PLACE: Final = " at 0x"
_SHOWN_OBJECT: Final = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
"""Python's text for an object without `__str__`, which `str(user)` in the function returns too."""


class UnusableAnswerError(TypeError):
    """An answer that cannot identify a client; its message says what it is."""


def client_text(answer: object) -> str:
    """The answer as text; empty for an anonymous request.

    Raises:
        UnusableAnswerError: the type of the answer cannot identify a client.
        ValueError: the answer is a number that is too large to be written.
    """
    # Exact `str` first, because nearly all answers are. `str()` of a subclass may differ each time.
    if type(answer) is str:
        if _PLACE in answer and _SHOWN_OBJECT.search(answer):
            raise UnusableAnswerError("a text that shows the address of an object in memory")
        return answer
    # `user.is_authenticated and user.id` is False for an anonymous request.
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
        answer.close()  # otherwise Python warns about it in every request
    raise UnusableAnswerError(f"an object of type {kind.__name__}")
