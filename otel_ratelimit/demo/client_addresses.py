"""How the demo's clients come by addresses of their own."""

from __future__ import annotations

import socket
from typing import Final

TRUSTED_PROXY: Final = "127.0.0.1/32"
"""Whom the server believes where all clients come from 127.0.0.1."""
_ANOTHER: Final = "127.0.0.2"


def addresses_of_our_own() -> bool:
    """Whether a client can come from another loopback address than 127.0.0.1: on Linux, not on macOS."""
    with socket.socket() as probe:
        try:
            probe.bind((_ANOTHER, 0))
        except OSError:
            return False
    return True
