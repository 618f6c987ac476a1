"""Which store counts where no URI is set: memory that the workers of a server share, where it can be had."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from otel_ratelimit.core.route_plan import Strategy
from otel_ratelimit.core.secret import Secret
from otel_ratelimit.core.storage_uri import storage_uri
from otel_ratelimit.storage.bounded_memory import SCHEME
from otel_ratelimit.storage.zone.values import FORMS

_logger = logging.getLogger(__name__)

IN_PROCESS: Final = storage_uri(f"{SCHEME}://")
_CONSEQUENCE: Final = (
    "each process counts in its own memory, so with N workers a client may have N times each limit"
)


def default_uri(shared: Secret, strategies: Iterable[Strategy]) -> Secret:
    """The URI `shared`, unless the policy has strategies for which only a process's own memory will do."""
    why = why_not_shared(strategies)
    if not why:
        return shared
    _logger.warning("%s", why)
    return IN_PROCESS


def why_not_shared(strategies: Iterable[Strategy]) -> str:
    """Why processes cannot share counters of these strategies where no URI is set; empty if they can."""
    lacking = sorted(strategy for strategy in strategies if strategy not in FORMS)
    if not lacking:
        return ""
    return (
        f"{_CONSEQUENCE}: the policy counts by {' and '.join(lacking)}, which memory that processes share"
        f" cannot do; use {' or '.join(FORMS)}, or set OTEL_RATELIMIT_STORAGE_URI to a Redis or Valkey"
    )


def log_that_memory_is_not_shared(error: Exception) -> None:
    """Log why the workers of this server cannot share memory."""
    _logger.warning("%s: %s", _CONSEQUENCE, error)
