"""The defaults of the policy file: they hold for every key that the file does not set, and without a file.

Two tables have theirs elsewhere: `[memory]` in `core/thresholds.py`, because the store and the dashboards use
the same figures, and `[cache]` in `cache.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

BUILT_IN_TIERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "expensive": "10/minute; 50/hour",
        "moderate": "20/minute; 200/hour",
        "cheap": "200/minute",
        "default": "100/minute",
    }
)
"""`[tiers]`: a file adds to these, and replaces those that it names."""
DEFAULT_TIER: Final = "default"
"""`default_tier`: the tier of routes that no rule matches."""
BUILT_IN_EXEMPT: Final = (
    "/health",
    "/health/**",
    "/healthz",
    "/livez",
    "/readyz",
    "/ready",
    "/ping",
)
"""`exempt`: routes without limits."""
KEY: Final = "ip+user"
"""`key`: what tells clients apart."""
STRATEGY: Final = "fixed-window"
"""`strategy`: how requests are counted."""
ON_ERROR: Final = "closed"
"""`on_error`: what happens to requests while the counter store is away."""

USER: Final = "auto"
"""`[identity] user`: where the verified user is found."""
IPV6_PREFIX_BITS: Final = 64
"""`[identity] ipv6_prefix`: how many leading bits of an IPv6 address stand for one client."""

BATCH_SIZE: Final = 10
"""`[analytics] batch_size`: refusals that are written together."""
FLUSH_INTERVAL_SECONDS: Final = 60.0
"""`[analytics] flush_interval`: the longest that a refusal waits to be written."""
RETENTION_SECONDS: Final = 30 * 86_400.0
"""`[analytics] retention`: how long refusals are kept."""

CLIENT_ADDRESSES: Final = "whole"
"""`[analytics] client_addresses`: how addresses are recorded."""

REPORT_TIME_ZONE: Final = "UTC"
"""`[report] time_zone`: where a day of the report begins and ends."""
REPORT_TIME: Final = "00:15"
"""`[report] at`: when the report of the day before is made."""

HEADERS_DRAFT: Final = 11
"""`[responses] draft`: revision of draft-ietf-httpapi-ratelimit-headers."""
X_HEADERS: Final = True
"""`[responses] x_headers`: whether responses carry `X-RateLimit-*` headers."""

API_LIMITS: Final = "120 per 1 minute"
"""The limits of one address on all endpoints of `/api/rate-limit/*` together, if no rule names them."""
