"""How many counters of a zone each user has: counted on demand, so that requests do no work for it.

A zone knows clients only by the keys of their counters. So each remembered user is looked up in each limit.
Users that this process does not remember are added up under `OTHER_USERS`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping

from otel_ratelimit.core.route_plan import KIND_LETTERS
from otel_ratelimit.storage.counter_keys import KINDS
from otel_ratelimit.storage.counters_by_user import NO_USER, OTHER_USERS, highest_first
from otel_ratelimit.storage.zone import head
from otel_ratelimit.storage.zone.layout import WORD_BYTES
from otel_ratelimit.storage.zone.slots import number_of
from otel_ratelimit.storage.zone.store import ZoneStore


def keys_by_user(store: ZoneStore, users: Mapping[str, str]) -> dict[str, int]:
    """Number of counters by user, the highest number first; takes a microsecond for each user and limit.

    Args:
        store: the store to count in.
        users: names by client key (`Identity.key`).
    """
    zone = store.zone
    salts = zone.tables.salts()
    found: Counter[str] = Counter()
    for client, name in users.items():
        number = number_of(zone.keys.of_client(client))
        keys = (number ^ salt or 1 for salt in salts)
        counters = sum(zone.main.find(key, key.to_bytes(WORD_BYTES, sys.byteorder)) >= 0 for key in keys)
        if counters:
            found[name] += counters
    of_users = sum(
        zone.figure(head.KINDS_AT + int(KIND_LETTERS[kind], KINDS) * WORD_BYTES)
        for kind in ("user", "ip+user")
    )
    others = of_users - sum(found.values())
    if others > 0:
        found[OTHER_USERS] += others
    nobody = zone.figure(head.USED_AT) - of_users
    if nobody > 0:
        found[NO_USER] += nobody
    return highest_first(found)
