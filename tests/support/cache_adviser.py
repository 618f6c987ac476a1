"""An adviser that weighs given estimates, without any rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otel_ratelimit.cache_advice.advice import Adviser
from otel_ratelimit.cache_advice.estimate import Estimates
from otel_ratelimit.cache_advice.live_entries import LiveEntries
from otel_ratelimit.cache_advice.query_day import Template
from otel_ratelimit.cache_advice.replay_trace import TraceSample
from otel_ratelimit.cache_advice.template_peak_memory import Peaks
from otel_ratelimit.core.cache_assumptions import Assumptions


def adviser_of(
    found: Estimates,
    ttls: Sequence[int],
    assumptions: Assumptions | None = None,
    *,
    writes: Sequence[int] | None = None,
) -> Adviser:
    """One for templates that take no memory.

    Args:
        found: estimates by template.
        ttls: seconds.
        assumptions: the defaults if not given.
        writes: to the tables of each template; none if not given.
    """
    count = len(found.executions)
    no_trace = TraceSample(0, np.copy, np.zeros(0)).trace()
    return Adviser(
        [Template(at, "shop", str(at), "select", ("t",), 0.0) for at in range(count)],
        found,
        Peaks(LiveEntries(ttls, 86_400, 1.0), no_trace, Assumptions()),
        np.zeros(count, dtype=np.int64) if writes is None else np.array(writes),
        assumptions or Assumptions(),
        ttls,
    )
