"""From decisions to rows, and from rows to hit rates, headroom and recommended limits.

usage_buffer, violation_buffer   sum decisions and refusals up on the request's thread
recorder                         writes the sums in batches, on the background thread
records                          the rows that are written
reader                           the rows that are read back, and who reads them
hit_rate                         how often limits refuse
headroom                         how far use stays below each limit ("breathing room")
recommended_limits               what another limit would have refused
policy_suggestion                a first policy, from recorded requests

The public functions are in `otel_ratelimit.runtime.functions.analytics`; applications import them from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_ratelimit.runtime.functions.analytics import (
        SeveralServicesError as SeveralServicesError,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        SeveralServicesWarning as SeveralServicesWarning,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        UnknownServiceError as UnknownServiceError,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        calculate_breathing_room as calculate_breathing_room,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        calculate_hit_rate_by_endpoint as calculate_hit_rate_by_endpoint,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        get_violations_by_endpoint as get_violations_by_endpoint,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        get_violations_by_ip as get_violations_by_ip,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        log_rate_limit_violation as log_rate_limit_violation,
    )
    from otel_ratelimit.runtime.functions.analytics import (
        recommend_limits as recommend_limits,
    )

__all__ = [
    "SeveralServicesError",
    "SeveralServicesWarning",
    "UnknownServiceError",
    "calculate_breathing_room",
    "calculate_hit_rate_by_endpoint",
    "get_violations_by_endpoint",
    "get_violations_by_ip",
    "log_rate_limit_violation",
    "recommend_limits",
]


def __getattr__(name: str) -> Any:
    # These functions use all other rooms, so they are loaded only when somebody asks for one of them.
    if name in __all__:
        from otel_ratelimit.runtime.functions import analytics

        return getattr(analytics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
