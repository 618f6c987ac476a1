"""From executed queries to rows of the query log.

records                what is written
execution              one execution: how a capture reports it, and what is kept of it
capture_psycopg2       reports every query that psycopg2 runs
fingerprint            a statement without its values: the template, and its hash
execution_key          the key of an execution, under which a cache would hold its result
key_secret             when the secret of the keys is read
sampling               which executions are kept, by their key, and which have their result measured
frequent_keys          the most frequent keys of a stream, in bounded memory
execution_intake       decides, counts and enqueues, on the caller's thread
execution_totals       counts every execution, by text
n_plus_one             what counts as N+1
request_queries        the queries of one request
n_plus_one_patterns    finds N+1 patterns in them
query_log              processes the queue on the background thread
pending_rows           what was kept becomes rows (query_log_rows), which wait
pending_totals         totals that wait
query_delivery         writes what waits, in batches
collaborators          what the query log is given by the program around it
internal_errors        errors of our own, logged without values
duplicates             what `detect_duplicates` finds

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
    # Loaded late, because these functions join all the parts, and a part must not load the whole.
    if name in __all__:
        from otel_ratelimit.runtime.functions import queries

        return getattr(queries, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
