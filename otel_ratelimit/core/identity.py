"""The client that a request is counted for."""

from __future__ import annotations

from typing import NamedTuple

from otel_ratelimit.core.route_plan import KeyKind


class ClientKey(str):
    """The key of a client that the sender is free to choose, and that is the same from every network.

    So the sender's network is not in the key. A store that shares its room between networks finds the network
    in this attribute; for everything else this is an ordinary text.
    """

    __slots__ = ("network",)

    network: int
    """The number that a key with the network would start with, read in base 32: the kind's letter and
    `NETWORK_DIGITS` digits."""


class Identity(NamedTuple):
    """The client of a request. Counters use `key`; no field is ever a metric attribute."""

    key: str
    """A letter for the kind (`KIND_LETTERS`), then 32 hex digits, whatever the client sent: a keyed hash of
    its network (`NETWORK_DIGITS`), and a keyed hash of the client. With the network a store can share its
    room fairly. A `ClientKey` where the sender is free to choose the client."""
    kind: KeyKind
    """The source of the key: `ip` where a user was wanted and none was known."""
    address: str
    """The client's address, normalised, whole. `unknown` when the server gave none."""
    user: str | None
    fallback: str = ""
    """Why the wanted key could not be made (`error`, `empty`); empty when it was."""
