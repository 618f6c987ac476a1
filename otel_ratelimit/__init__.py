"""Rate limits for Flask APIs on PostgreSQL, without touching the app.

    from otel_ratelimit import RateLimit

    RateLimit(app)

or, with no change in the app at all, `opentelemetry-instrument gunicorn app:app`.

Every error that a caller may want to catch is here as well. `RateLimitError` is the base of those that are no
kind of `ValueError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from otel_ratelimit.core.decision import Decision, DecisionKind, DecisionSink
from otel_ratelimit.core.errors import (
    ConfigurationError,
    DatabaseBusyError,
    DatabaseError,
    DatabaseTimeoutError,
    DatabaseUnreachableError,
    MailError,
    PolicyError,
    RateLimitError,
    SchemaMissingError,
    SettingsError,
    StorageNotMeasuredError,
    StorageUnavailableError,
)
from otel_ratelimit.core.services import SeveralServicesError, UnknownServiceError
from otel_ratelimit.core.version import __version__

if TYPE_CHECKING:
    from otel_ratelimit.runtime.rate_limit import RateLimit
    from otel_ratelimit.web.refusal_errors import LimitsUnavailableError, QuotaExceededError

__all__ = [
    "ConfigurationError",
    "DatabaseBusyError",
    "DatabaseError",
    "DatabaseTimeoutError",
    "DatabaseUnreachableError",
    "Decision",
    "DecisionKind",
    "DecisionSink",
    "LimitsUnavailableError",
    "MailError",
    "PolicyError",
    "QuotaExceededError",
    "RateLimit",
    "RateLimitError",
    "SchemaMissingError",
    "SettingsError",
    "SeveralServicesError",
    "StorageNotMeasuredError",
    "StorageUnavailableError",
    "UnknownServiceError",
    "__version__",
]

_LATE: Final = {
    "LimitsUnavailableError": "otel_ratelimit.web.refusal_errors",
    "QuotaExceededError": "otel_ratelimit.web.refusal_errors",
    "RateLimit": "otel_ratelimit.runtime.rate_limit",
}
"""Names that need Flask and OpenTelemetry, without which the core is used too; with their modules."""


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
