"""Notices that nearly all clients behind trusted proxies have become one, and says which setting is missing.

A load balancer that is not trusted, such as Google's, which writes its own public address behind the
client's, is taken for the client: everybody shares its limit. Seen from here that is one address in nearly
all requests, with many different addresses to the left of it. A single client that forges addresses looks
the same, so the sentence names both cases.

On the request path this costs a comparison and an addition (the majority vote of Boyer and Moore); what the
headers hold is looked at once, at the end.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from otel_ratelimit.policy.identity.client_address import parse_address
from otel_ratelimit.policy.identity.trusted_proxies import HOPS_VARIABLE, TrustedProxies
from otel_ratelimit.policy.identity.trusted_proxies import VARIABLE as PROXIES_VARIABLE

_log = logging.getLogger(__name__)

REQUESTS: Final = 2000
"""Requests that are looked at together."""
ROUNDS: Final = 5
"""After so many times that number without a finding, nothing is looked at any more."""
MIN_SHARE: Final = 0.95
MIN_CLAIMED: Final = 20
"""So many different addresses must stand to the left; fewer can be clients behind a proxy of their own."""
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
        """Take note of a request; whether that was the last one of interest."""
        if address == self._address:
            self._lead += 1
            if len(self._headers) < _KEPT_HEADERS:
                self._headers.add(written[-_KEPT_CHARACTERS:])
        elif self._lead:
            self._lead -= 1
        else:
            self._address, self._lead, self._headers = address, 1, set()
        self._seen += 1
        return self._seen >= REQUESTS and self._concluded()

    def _concluded(self) -> bool:
        """Once for all threads that come here together."""
        with self._lock:
            if self._over or self._seen < REQUESTS:
                return self._over
            self._rounds += 1
            # The lead is the address's requests minus all others.
            share = (self._seen + self._lead) / (2 * self._seen)
            self._over = (share >= MIN_SHARE and self._warned(share)) or self._rounds >= ROUNDS
            self._begin()
            return self._over

    def _warned(self, share: float) -> bool:
        places = [self._place(written) for written in tuple(self._headers)]
        claimed = {left for _, left in places if left}
        hops = max((place + 1 for place, left in places if left), default=0)
        if len(claimed) < MIN_CLAIMED:
            return False
        _log.warning(
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
