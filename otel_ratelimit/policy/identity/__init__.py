"""The sender of a request: from address, headers and user to a key of fixed size.

client_address.py           the client's address, from the connection or from a proxy's header
trusted_proxies.py          which proxies are believed
proxy_header.py             which header they write, and how it is read
proxy_warnings.py           what the log says about wrong proxy settings
shared_address_warning.py   ... and where all clients seem to be one
client_network.py           what counts as one IPv6 client, and as one network
client_key.py               how a client's key is made
remembered_users.py         the names of the users seen last
application_answer.py       which answers of the application can stand for a client
address_masking.py          how recorded addresses are masked or hashed
"""

from otel_ratelimit.policy.identity.client_address import UNKNOWN_ADDRESS, normalise
from otel_ratelimit.policy.identity.client_behind_proxies import find_client_address
from otel_ratelimit.policy.identity.client_key import ClientSource, Identifier
from otel_ratelimit.policy.identity.client_network import one_client_of, prefix_of
from otel_ratelimit.policy.identity.proxy_warnings import HEADER_WITHOUT_TRUST
from otel_ratelimit.policy.identity.trusted_proxies import TrustedProxies

__all__ = [
    "HEADER_WITHOUT_TRUST",
    "UNKNOWN_ADDRESS",
    "ClientSource",
    "Identifier",
    "TrustedProxies",
    "find_client_address",
    "normalise",
    "one_client_of",
    "prefix_of",
]
