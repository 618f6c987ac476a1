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

# When a figure asks for somebody's attention: alert rules and dashboards.

UTILIZATION_HIGH: Final = 0.8
"""Share of a limit from which a client is close to it; a boundary of the utilization histogram."""
QUEUE_HIGH: Final = 0.8
"""Share of a queue's room from which it is about to lose what comes next."""
CHECK_DURATION_HIGH_SECONDS: Final = 0.005
"""What the check of a request's limits may take, for 99 of 100 requests."""
CLIENT_LIMITED_LONG_SECONDS: Final = 3_600.0
"""A client refused for so long without a pause does not know, or does not care."""
BLOCKED_SHARE_HIGH: Final = 0.05
"""Share of the requests that are refused from which limits, or a client, want looking at."""
SERVER_ERROR_SHARE_HIGH: Final = 0.01
"""Share of the requests that end in a 5xx answer."""
REPORT_AGE_MAX_SECONDS: Final = 26 * 3_600.0
"""A nightly report that is older was missed: a day, and two hours for a slow one."""
TELEMETRY_SILENCE_SECONDS: Final = 300.0
"""A service not heard of for so long is taken to be silent; the collector forgets it then."""
