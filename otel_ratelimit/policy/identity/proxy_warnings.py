"""Warnings, each logged once, when requests show that the settings of the proxies are probably wrong."""

from __future__ import annotations

import logging
from typing import Final

from otel_ratelimit.policy.identity.client_address import parse_address
from otel_ratelimit.policy.identity.proxy_header import DEFAULT_NAME
from otel_ratelimit.policy.identity.proxy_header import VARIABLE as HEADER_VARIABLE
from otel_ratelimit.policy.identity.trusted_proxies import HOPS_VARIABLE, TrustedProxies, private
from otel_ratelimit.policy.identity.trusted_proxies import VARIABLE as PROXIES_VARIABLE

_logger = logging.getLogger(__name__)

HEADER_WITHOUT_TRUST: Final = (
    f"{HEADER_VARIABLE} has no effect, because no proxy is trusted: set {PROXIES_VARIABLE} or {HOPS_VARIABLE}"
)
"""Logged at the start."""
_UNIX_SOCKET: Final = "a Unix socket"


class ProxyWarnings:
    """Logs each warning once; the flags say which warnings are still possible."""

    def __init__(self, trusted: TrustedProxies) -> None:
        self._trusted = trusted
        self.header = trusted.header.name
        """The header that is read."""
        self.other = "Forwarded" if self.header == DEFAULT_NAME else DEFAULT_NAME
        """The header that proxies may write instead."""
        self.of_untrusted = True
        self.of_other_header = True
        self.of_few_hops = trusted.hops > 1

    def may_be_proxy(self, peer: str) -> bool:
        """Whether the peer is a private address that is not trusted."""
        address = parse_address(peer)
        if self._trusted.believes(address):
            return False
        return not peer or (address is not None and private([address]))

    def untrusted(self, peer: str, header: str) -> None:
        """Warn that a private peer sends `header` and is not trusted."""
        self.of_untrusted = False
        _logger.warning(
            "a forwarding header came from %s, which is not a trusted proxy: all clients behind it share one"
            " limit. If it is your proxy, set %s=%s%s",
            peer or _UNIX_SOCKET,
            PROXIES_VARIABLE,
            peer or "unix",
            "" if header == self.header else f" and {HEADER_VARIABLE}={header}",
        )

    def other_header(self, peer: str) -> None:
        """Warn that a trusted peer sends the other header, and not the one that is read."""
        if not self._trusted.believes(parse_address(peer)):
            return
        self.of_other_header = False
        _logger.warning(
            "a request from the trusted proxy %s has no %s header, but a %s header, which is not read: all"
            " clients behind that proxy share one limit. If your proxies write it, set %s=%s",
            peer or _UNIX_SOCKET,
            self.header,
            self.other,
            HEADER_VARIABLE,
            self.other,
        )

    def few_hops(self, peer: str, written: str) -> None:
        """Warn if the header has fewer entries than there are proxies."""
        found = sum(1 for _ in self._trusted.header.entries(written))
        if found >= self._trusted.hops or not self._trusted.believes(parse_address(peer)):
            return
        self.of_few_hops = False
        _logger.warning(
            "the %s header of a request from %s has fewer entries (%d) than %s=%d: such requests share the"
            " limit of that address. If so many proxies stand in front of all requests, set %s=%d",
            self.header,
            peer or _UNIX_SOCKET,
            found,
            HOPS_VARIABLE,
            self._trusted.hops,
            HOPS_VARIABLE,
            found,
        )
