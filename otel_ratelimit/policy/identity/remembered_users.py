"""The names of the users seen last, so that the counters of each user can be shown under a name.

A counter's key contains a hash of the user and not the name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeyKind

MAX_USERS: Final = 16_384
"""How many names of users are remembered, to show how many counters each user has."""


class RememberedUsers:
    """Remembers the users among the identities that are made, in a ring, which needs no lock and is bounded.

    Args:
        identity: makes an identity.
    """

    def __init__(self, identity: Callable[[KeyKind, str, str, str | None, str], Identity]) -> None:
        self._make = identity
        self._users: list[tuple[str, str]] = []
        self._next = itertools.count()

    def identity(self, kind: KeyKind, address: str, value: str, user: str | None, fallback: str) -> Identity:
        """A new identity; the name of its user, if there is one, is remembered in place of the oldest."""
        identity = self._make(kind, address, value, user, fallback)
        if user is not None:
            place, users = next(self._next) % MAX_USERS, self._users
            if place < len(users):
                users[place] = (identity.key, user)
            else:
                users.append((identity.key, user))
        return identity

    def by_key(self) -> dict[str, str]:
        """The names, by client key: at most `MAX_USERS`."""
        return dict(self._users)
