"""A refusal that the application reports itself: converted, or rejected with a message about the right form.

All values that pass can be written: one odd value must not reach a batch that holds the rows of others.
"""

from __future__ import annotations

import math
import operator
from ipaddress import IPv4Address, IPv6Address
from typing import Final, SupportsFloat

from otel_ratelimit.analytics.recorder import UNKNOWN_CLIENT
from otel_ratelimit.policy.identity.application_answer import UnusableAnswerError, client_text

MAX_CHARACTERS: Final = 512
"""Characters of a text that the tables keep."""
MAX_COUNT: Final = 2**63 - 1
"""PostgreSQL's bigint."""
MAX_TIME: Final = 253_370_764_800.0
"""The year 9999, in seconds; Python's dates end with it. Milliseconds taken for seconds are beyond it."""


def text_of(name: str, value: object) -> str:
    """`value` as text of bounded length.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return str.__str__(value)[:MAX_CHARACTERS]


def client_of(value: object) -> str:
    """The client's address as text; `unknown` for None, as Flask has it for a Unix socket.

    Raises:
        TypeError: it is nothing that can stand for a client.
        ValueError: it is a number too large to be written.
    """
    if isinstance(value, IPv4Address | IPv6Address):
        return str(value)
    return _client_text("client", value) or UNKNOWN_CLIENT


def user_of(value: object) -> str | None:
    """The user as text, None for nobody; a number or a UUID, as databases have them, is a user too.

    Raises:
        TypeError: it is nothing that can stand for a user.
        ValueError: it is a number too large to be written.
    """
    return _client_text("user_id", value) or None


def count_of(name: str, value: object) -> int:
    """`value` as a whole number from 0 to `MAX_COUNT`.

    Raises:
        TypeError: it is no number.
        ValueError: it is not whole, or out of range.
    """
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{name} must be a whole number, not {value!r}")
        value = int(value)
    try:
        count = operator.index(value)  # type: ignore[arg-type]  # what has none raises
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}") from None
    if not 0 <= count <= MAX_COUNT:
        raise ValueError(f"{name} must be from 0 to {MAX_COUNT}")
    return count


def time_of(name: str, value: object) -> float:
    """`value` as Unix time in seconds, from 1970 to the year 9999.

    Raises:
        TypeError: it is no number.
        ValueError: it is out of range.
    """
    # To ask for the protocol takes longer than all the rest; nearly always it is a float.
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, SupportsFloat)):
        raise TypeError(f"{name} must be Unix time in seconds, not {type(value).__name__}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0.0 <= seconds <= MAX_TIME:
        wanted = f"from 0 to {MAX_TIME:.0f}"
        raise ValueError(f"{name} must be Unix time in seconds, {wanted}; milliseconds are more than that")
    return seconds


def flag_of(name: str, value: object) -> bool:
    """`value` as a truth value.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, int) or value not in {0, 1}:
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return bool(value)


def _client_text(name: str, value: object) -> str:
    try:
        return client_text(value)[:MAX_CHARACTERS]
    except UnusableAnswerError as error:
        raise TypeError(f"{name} is {error}; it must be text, an int or a UUID") from None
    except ValueError:
        raise ValueError(f"{name} is a number too large to be written") from None
