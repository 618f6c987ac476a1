"""Rate limits for Flask APIs on PostgreSQL, without touching the app.

    from otel_ratelimit import RateLimit

    RateLimit(app)

or, with no change in the app at all, `opentelemetry-instrument gunicorn app:app`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_ratelimit.core.decision import Decision, DecisionKind, DecisionSink
from otel_ratelimit.core.errors import ConfigurationError, PolicyError, RateLimitError, SettingsError
from otel_ratelimit.core.version import __version__

if TYPE_CHECKING:
    from otel_ratelimit.runtime.rate_limit import RateLimit
    from otel_ratelimit.web.refusal_errors import LimitsUnavailableError, QuotaExceededError

__all__ = [
    "ConfigurationError",
    "Decision",
    "DecisionKind",
    "DecisionSink",
    "LimitsUnavailableError",
    "PolicyError",
    "QuotaExceededError",
    "RateLimit",
    "RateLimitError",
    "SettingsError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # Late, because the core is used without Flask and OpenTelemetry too.
    if name == "RateLimit":
        from otel_ratelimit.runtime.rate_limit import RateLimit

        return RateLimit
    if name in {"LimitsUnavailableError", "QuotaExceededError"}:
        from otel_ratelimit.web import refusal_errors

        return getattr(refusal_errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
