"""How each of the demo's clients gets an address of its own."""

from __future__ import annotations

import socket
from typing import Final

TRUSTED_PROXY: Final = "127.0.0.1/32"
"""The proxy that the server trusts if all clients come from 127.0.0.1."""
_ANOTHER: Final = "127.0.0.2"


def can_bind_other_addresses() -> bool:
    """Whether a client can come from another loopback address than 127.0.0.1: on Linux, not on macOS."""
    with socket.socket() as probe:
        try:
            probe.bind((_ANOTHER, 0))
        except OSError:
            return False
    return True
