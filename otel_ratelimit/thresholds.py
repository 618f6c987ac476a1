"""Figures that code, alert rules and dashboards share; each has its unit in its name."""

from __future__ import annotations

from typing import Final

MEGABYTE: Final = 1_000_000

MEMORY_CAPACITY_BYTES: Final = 50 * MEGABYTE
MEMORY_WARNING_BYTES: Final = 40 * MEGABYTE
MEMORY_CRITICAL_BYTES: Final = 50 * MEGABYTE
CLEANUP_INTERVAL_SECONDS: Final = 60.0
"""How often expired counters are removed."""
SWEEP_PAUSE_MAX_SECONDS: Final = 0.001
"""The longest a request may wait for the sweeper."""

POLICY_POLL_SECONDS: Final = 2.0
"""How often the policy file's modification time is looked at."""

STORAGE_TIMEOUT_SECONDS: Final = 0.25
"""How long a request waits for a remote store."""
STORAGE_RETRY_SECONDS: Final = 1.0
"""How long a failed store is left alone before one request tries it again."""

IPV6_PREFIX_BITS: Final = 64

API_LIMITS: Final = "120 per 1 minute"
"""What one address may ask of `/api/rate-limit/*`, all its endpoints together."""
