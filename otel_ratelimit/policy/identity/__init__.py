"""Who asks: from a request's address, headers and user to a key of fixed size."""

from otel_ratelimit.policy.identity.client_address import (
    UNKNOWN_ADDRESS,
    client_address,
    client_network,
    normalise,
    prefix_of,
)
from otel_ratelimit.policy.identity.client_key import ClientSource, Identifier
from otel_ratelimit.policy.identity.proxy_warnings import HEADER_WITHOUT_TRUST
from otel_ratelimit.policy.identity.trusted_proxies import TrustedProxies

__all__ = [
    "HEADER_WITHOUT_TRUST",
    "UNKNOWN_ADDRESS",
    "ClientSource",
    "Identifier",
    "TrustedProxies",
    "client_address",
    "client_network",
    "normalise",
    "prefix_of",
]
