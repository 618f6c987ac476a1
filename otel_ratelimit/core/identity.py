"""The client that a request is counted for."""

from __future__ import annotations

from typing import NamedTuple

from otel_ratelimit.core.route_plan import KeyKind


class ClientKey(str):
    """The key of a client that is the same wherever it comes from, and could be anything the sender likes.

    So the sender's network is not in the key; a store that shares its room between networks finds it beside
    it. To all others this is the text that it is.
    """

    __slots__ = ("network",)

    network: int
    """As the key's first digits would be, read in base 32: the kind's letter and `NETWORK_DIGITS`."""


class Identity(NamedTuple):
    """Who asks. `key` is what counters use; nothing here is ever a metric attribute."""

    key: str
    """A letter for the kind (`KIND_LETTERS`), then 32 hex digits, whatever the client sent: a keyed hash of
    its network (`NETWORK_DIGITS`), and one of the client, so that a store can share its room fairly. A
    `ClientKey` where the sender is free to choose the client."""
    kind: KeyKind
    """What the key was really made of: `ip` where a user was wanted and none was known."""
    address: str
    """The client's address, normalised, whole. `unknown` when the server gave none."""
    user: str | None
    fallback: str = ""
    """Why the wanted key could not be had (`error`, `empty`); empty when it could."""
