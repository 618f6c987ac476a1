"""Figures that code, alert rules and dashboards share; each has its unit in its name."""

from __future__ import annotations

from typing import Final

MEGABYTE: Final = 1_000_000

MEMORY_CAPACITY_BYTES: Final = 50 * MEGABYTE
MEMORY_CRITICAL_BYTES: Final = 50 * MEGABYTE
MEMORY_WARNING_SHARE: Final = 0.8
"""The warning threshold as a share of the critical one, where only the latter is known."""
MEMORY_WARNING_BYTES: Final = int(MEMORY_WARNING_SHARE * MEMORY_CRITICAL_BYTES)
CLEANUP_INTERVAL_SECONDS: Final = 60.0
"""How often expired counters are removed."""

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
