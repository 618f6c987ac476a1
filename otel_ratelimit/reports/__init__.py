"""The nightly report: finds the days that have none, builds it, keeps it, and mails it.

job, schedule   what runs, and when
missing_days, recorded_period   which days, and which part of a day
build_report    the report of one day
mailer, mail    the e-mail, and sending it through a mail server
rendering       the report as a page, a mail and a table

Needs the extra `report`. The public functions are in `otel_ratelimit.runtime.functions.reports`; they are
imported from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_ratelimit.runtime.functions.reports import (
        Assumptions as Assumptions,
    )
    from otel_ratelimit.runtime.functions.reports import (
        CacheAnalysis as CacheAnalysis,
    )
    from otel_ratelimit.runtime.functions.reports import (
        CostBenefit as CostBenefit,
    )
    from otel_ratelimit.runtime.functions.reports import (
        DailyCacheReport as DailyCacheReport,
    )
    from otel_ratelimit.runtime.functions.reports import (
        Needs as Needs,
    )
    from otel_ratelimit.runtime.functions.reports import (
        Price as Price,
    )
    from otel_ratelimit.runtime.functions.reports import (
        analyze_cache_potential as analyze_cache_potential,
    )
    from otel_ratelimit.runtime.functions.reports import (
        calculate_redis_cost_benefit as calculate_redis_cost_benefit,
    )
    from otel_ratelimit.runtime.functions.reports import (
        generate_daily_cache_report as generate_daily_cache_report,
    )
    from otel_ratelimit.runtime.functions.reports import (
        recorded_day as recorded_day,
    )

__all__ = [
    "Assumptions",
    "CacheAnalysis",
    "CostBenefit",
    "DailyCacheReport",
    "Needs",
    "Price",
    "analyze_cache_potential",
    "calculate_redis_cost_benefit",
    "generate_daily_cache_report",
    "recorded_day",
]


def __getattr__(name: str) -> Any:
    # Imported late: these functions import all parts, and importing a part must not import the whole.
    if name in __all__:
        from otel_ratelimit.runtime.functions import reports

        return getattr(reports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
