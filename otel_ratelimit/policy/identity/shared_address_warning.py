"""Warns when nearly all clients behind trusted proxies have one address, and says which setting is missing.

Some load balancers, such as Google's, write their own public address behind the client's. If that address is
not trusted, it is taken for the client, and all clients share one limit. Nearly all requests then have one
address, with many different addresses to the left of it. A single client that forges addresses looks the
same, so the warning names both cases.

On the request path this costs a comparison and an addition (the majority vote of Boyer and Moore); the
headers are read once, at the end.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from otel_ratelimit.policy.identity.client_address import parse_address
from otel_ratelimit.policy.identity.trusted_proxies import HOPS_VARIABLE, TrustedProxies
from otel_ratelimit.policy.identity.trusted_proxies import VARIABLE as PROXIES_VARIABLE

_logger = logging.getLogger(__name__)

REQUESTS_PER_ROUND: Final = 2000
"""How many requests are evaluated together."""
MAX_ROUNDS: Final = 5
"""After so many evaluations without a result, the watch ends."""
MIN_SHARE: Final = 0.95
MIN_CLAIMED: Final = 20
"""How many different addresses there must be to the left; fewer may be clients behind their own proxy."""
_KEPT_HEADERS: Final = 64
_KEPT_CHARACTERS: Final = 256


class SharedAddressWatch:
    """Watches one process's requests that came through trusted proxies."""

    def __init__(self, trusted: TrustedProxies) -> None:
        self._trusted = trusted
        self._rounds = 0
        self._over = False
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._seen = 0
        self._lead = 0
        self._address = ""
        self._headers: set[str] = set()

    def saw(self, written: str, address: str) -> bool:
        """Note a request; returns True when no more requests are needed."""
        if address == self._address:
            self._lead += 1
            if len(self._headers) < _KEPT_HEADERS:
                self._headers.add(written[-_KEPT_CHARACTERS:])
        elif self._lead:
            self._lead -= 1
        else:
            self._address, self._lead, self._headers = address, 1, set()
        self._seen += 1
        return self._seen >= REQUESTS_PER_ROUND and self._concluded()

    def _concluded(self) -> bool:
        """Evaluate once, even if several threads come here at the same time."""
        with self._lock:
            if self._over or self._seen < REQUESTS_PER_ROUND:
                return self._over
            self._rounds += 1
            # The lead is the address's requests minus all others.
            share = (self._seen + self._lead) / (2 * self._seen)
            self._over = (share >= MIN_SHARE and self._warned(share)) or self._rounds >= MAX_ROUNDS
            self._begin()
            return self._over

    def _warned(self, share: float) -> bool:
        places = [self._place(written) for written in tuple(self._headers)]
        claimed = {left for _, left in places if left}
        hops = max((place + 1 for place, left in places if left), default=0)
        if len(claimed) < MIN_CLAIMED:
            return False
        _logger.warning(
            "%.0f %% of %d requests through trusted proxies have one client address, %s, with different"
            " addresses to the left of it in %s. If %s is a load balancer of yours, all clients behind it"
            " share one limit: set %s=%d, or add %s to %s. If it is one client that forges addresses, change"
            " nothing",
            100 * share,
            self._seen,
            self._address,
            self._trusted.header.name,
            self._address,
            HOPS_VARIABLE,
            hops,
            self._address,
            PROXIES_VARIABLE,
        )
        return True

    def _place(self, written: str) -> tuple[int, str]:
        """Which entry from the right, counted from 1, is the shared address, and the one to its left."""
        entries = list(self._trusted.header.entries(written))
        for place, entry in enumerate(entries, start=1):
            if str(parse_address(entry)) == self._address:
                left = parse_address(entries[place]) if place < len(entries) else None
                return place, "" if left is None else str(left)
        return 0, ""
