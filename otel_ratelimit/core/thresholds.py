"""Figures that code, alert rules and dashboards share; each has its unit in its name."""

from __future__ import annotations

from typing import Final

MEGABYTE: Final = 1_000_000

MEMORY_CAPACITY_BYTES: Final = 50 * MEGABYTE
MEMORY_WARNING_BYTES: Final = 40 * MEGABYTE
MEMORY_CRITICAL_BYTES: Final = 50 * MEGABYTE
CLEANUP_INTERVAL_SECONDS: Final = 60.0
"""How often expired counters are removed."""
MAX_SWEEP_PAUSE_SECONDS: Final = 0.001
"""The longest a request may wait for the sweeper."""

STORAGE_TIMEOUT_SECONDS: Final = 0.25
"""How long a request waits for a remote store."""
STORAGE_RETRY_SECONDS: Final = 1.0
"""How long a failed store is left alone before one request tries it again."""

IPV6_PREFIX_BITS: Final = 64

API_LIMITS: Final = "120 per 1 minute"
"""What one address may ask of `/api/rate-limit/*`, all its endpoints together."""

# Figures of alert rules and dashboards: docs/reference/alerts.md says which, and how to change them.
UTILIZATION_HIGH: Final = 0.8
"""A client that has used this share of a limit is near the limit."""
UTILIZATION_HIGH_SHARE: Final = 0.05
"""An endpoint is near its limit where a larger share of its requests comes from clients near theirs."""
BLOCKED_SHARE_BUDGET: Final = 0.02
"""Share of requests that may be refused before somebody should look. Limits that `policy suggest` proposes
refuse one client in a hundred, and a refused client asks again."""
BLOCKED_SHARE_LEAST_REQUESTS: Final = 500
"""With fewer requests in the longer window a share says little."""
STORE_FAILING_SHARE: Final = 0.05
"""Share of five minutes' requests that the store could not decide: as many as in 15 seconds without it."""
STORE_FAILING_LEAST_REQUESTS: Final = 5
CLIENT_LIMITED_SECONDS: Final = 1800.0
"""A client that is refused for this long without a pause of a minute ignores Retry-After."""
CHECK_SLOW_SECONDS: Final = 0.01
"""The time in which 99 of 100 checks should end."""
QUEUE_NEARLY_FULL: Final = 0.8
"""Share of a queue's capacity."""
REPORT_OVERDUE_SECONDS: Final = 26 * 3600.0
"""A day between two nightly reports, and two hours for one that starts late or takes long."""
SERVER_ERROR_SHARE_HIGH: Final = 0.01
"""Share of the answers that are 5xx."""
TELEMETRY_SILENT_SECONDS: Final = 300.0
"""A service that reports nothing for this long is silent; the collector forgets its processes then."""
