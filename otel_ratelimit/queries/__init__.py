"""From executed queries to rows of the query log.

capture_psycopg2   sees every query that psycopg2 runs
fingerprint        a statement without its values: the template, and its hash
execution_key      what a cache would have held, as a keyed hash
sampling, hot_keys which executions are kept
intake             decides and counts on the caller's thread
query_log          templates, batches and delivery, on the background thread
n_plus_one         requests that run one template again and again
records            what is written

The public functions are in `otel_ratelimit.runtime.functions.queries`; they are imported from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_ratelimit.runtime.functions.queries import (
        Duplicates as Duplicates,
    )
    from otel_ratelimit.runtime.functions.queries import (
        QueriesWithoutServiceWarning as QueriesWithoutServiceWarning,
    )
    from otel_ratelimit.runtime.functions.queries import (
        QueryTemplate as QueryTemplate,
    )
    from otel_ratelimit.runtime.functions.queries import (
        RepeatsInRequests as RepeatsInRequests,
    )
    from otel_ratelimit.runtime.functions.queries import (
        RepeatsInTime as RepeatsInTime,
    )
    from otel_ratelimit.runtime.functions.queries import (
        detect_duplicates as detect_duplicates,
    )
    from otel_ratelimit.runtime.functions.queries import (
        hash_query as hash_query,
    )
    from otel_ratelimit.runtime.functions.queries import (
        log_query as log_query,
    )

__all__ = [
    "Duplicates",
    "QueriesWithoutServiceWarning",
    "QueryTemplate",
    "RepeatsInRequests",
    "RepeatsInTime",
    "detect_duplicates",
    "hash_query",
    "log_query",
]


def __getattr__(name: str) -> Any:
    # Late, because these functions join all the parts, and a part must not load the whole.
    if name in __all__:
        from otel_ratelimit.runtime.functions import queries

        return getattr(queries, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
