"""Every metric, attribute, span-event and header name, in one place.

Metric and attribute names follow the OpenTelemetry semantic conventions (`http.route`,
`http.request.method`) where one exists, and `otel_ratelimit.*` elsewhere.
"""

from __future__ import annotations

from typing import Final

METER: Final = "otel_ratelimit"

# Instruments: see docs/reference/metrics.md
REQUESTS: Final = "otel_ratelimit.requests"
UTILIZATION: Final = "otel_ratelimit.utilization"
CHECK_DURATION: Final = "otel_ratelimit.check.duration"
STORAGE_SIZE: Final = "otel_ratelimit.storage.size"
STORAGE_CAPACITY: Final = "otel_ratelimit.storage.capacity"
STORAGE_THRESHOLD: Final = "otel_ratelimit.storage.threshold"
STORAGE_KEYS: Final = "otel_ratelimit.storage.keys"
STORAGE_ERRORS: Final = "otel_ratelimit.storage.errors"
STORAGE_OVERFLOWS: Final = "otel_ratelimit.storage.overflows"
CLEANUP_REMOVED_KEYS: Final = "otel_ratelimit.cleanup.removed_keys"
CLEANUP_FREED: Final = "otel_ratelimit.cleanup.freed"
CLEANUP_DURATION: Final = "otel_ratelimit.cleanup.duration"
CLIENT_LIMITED: Final = "otel_ratelimit.client.limited"
KEY_FALLBACKS: Final = "otel_ratelimit.identity.fallbacks"
VIOLATIONS_RECORDED: Final = "otel_ratelimit.violations.recorded"
VIOLATIONS_DROPPED: Final = "otel_ratelimit.violations.dropped"
QUEUE_LENGTH: Final = "otel_ratelimit.queue.length"
QUEUE_CAPACITY: Final = "otel_ratelimit.queue.capacity"
QUERIES: Final = "otel_ratelimit.queries"
QUERY_REPEATS: Final = "otel_ratelimit.query.repeats"
QUERY_CAPTURE_DURATION: Final = "otel_ratelimit.query.capture.duration"
REPORT_LAST_SUCCESS: Final = "otel_ratelimit.report.last_success"
CACHE_HIT_POTENTIAL: Final = "otel_ratelimit.cache.hit_potential"
POLICY_INFO: Final = "otel_ratelimit.policy.info"
POLICY_RELOADS: Final = "otel_ratelimit.policy.reloads"

# Attributes
HTTP_ROUTE: Final = "http.route"
HTTP_REQUEST_METHOD: Final = "http.request.method"
TIER: Final = "otel_ratelimit.tier"
DECISION: Final = "otel_ratelimit.decision"
LIMIT: Final = "otel_ratelimit.limit"
REMAINING: Final = "otel_ratelimit.remaining"
CLIENT: Final = "otel_ratelimit.client"
"""Keyed hash of the client identity; on spans only."""
STORAGE: Final = "otel_ratelimit.storage"
ERROR_TYPE: Final = "error.type"
OUTCOME: Final = "otel_ratelimit.outcome"
ON_ERROR: Final = "otel_ratelimit.on_error"
LEVEL: Final = "otel_ratelimit.level"
QUEUE: Final = "otel_ratelimit.queue"
POLICY_HASH: Final = "otel_ratelimit.policy.hash"
KEY: Final = "otel_ratelimit.key"
REPORT_DATE: Final = "otel_ratelimit.report.date"

# Attributes of log lines
REFUSED_REQUESTS: Final = "otel_ratelimit.refused.requests"
REFUSED_CLIENTS: Final = "otel_ratelimit.refused.clients"
REFUSED_LIMITS: Final = "otel_ratelimit.refused.limits"
CLIENT_ADDRESS: Final = "client.address"
"""Whole, masked or hashed, as `[analytics] client_addresses` says; in the log only."""
USER: Final = "user.id"
STORAGE_USED_PERCENT: Final = "otel_ratelimit.storage.used_percent"
STORAGE_KEYS_BY_ENDPOINT: Final = "otel_ratelimit.storage.keys_by_endpoint"
STORAGE_KEYS_BY_CLIENT_KIND: Final = "otel_ratelimit.storage.keys_by_client_kind"

# Spans
REPORT_SPAN: Final = "otel_ratelimit.report"
REPORT_DAY_SPAN: Final = "otel_ratelimit.report.day"
REPORT_MAIL_SPAN: Final = "otel_ratelimit.report.mail"

# Span events
N_PLUS_ONE: Final = "otel_ratelimit.n_plus_one"
EXECUTIONS: Final = "otel_ratelimit.query.executions"

UNMATCHED_ROUTE: Final = "<unmatched>"
"""`http.route` of a request that matched no route (404, 405)."""
OTHER_METHOD: Final = "_OTHER"
"""The semantic conventions' name for an unknown method."""
APPLICATION_TIER: Final = "application"
"""Tier of a decision that the application's own Flask-Limiter made."""
API_TIER: Final = "rate-limit-api"
"""Tier of requests to `/api/rate-limit/*`, unless a rule of the policy names another."""
UNREADABLE_TEMPLATE: Final = "<refused>"
"""Text of the query template that stands for statements of which no text may be kept."""
OTHER_CLIENTS: Final = "<other>"
"""`Violation.client` of the clients beyond those that one process tells apart in a flush interval."""
