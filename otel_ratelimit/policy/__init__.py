"""The policy: from a TOML file to the limits of each route, and from those to the decision on each request.

    ratelimit.toml ─► load ─► model (Policy) ─► resolve (RoutePlan) ─┐
    request ─► identity (Identity) ──────────────────────────────────┴─► decide ─► counter store ─► Decision

`load` reads the file and reports every mistake with file, line and key. `model` has each table of the file
with its keys, types and defaults (`defaults`; `[report]` is in `report`, `[cache]` in `cache`);
`limit_notation` reads limits, `quantities` sizes and durations; `cross_checks` finds what contradicts each
other in several tables. `resolve` finds the first rule whose `route_pattern` matches a route, once and not
for each request; `counter_scope` says which routes share a counter. `policy_file` reloads the file.
"""

from otel_ratelimit.policy.cache import Cache, CachePrice
from otel_ratelimit.policy.fresh_counters import FreshCounter, fresh_between, fresh_counters, listed
from otel_ratelimit.policy.load import builtin_policy, load_policy, parse_policy
from otel_ratelimit.policy.model import Memory, Policy
from otel_ratelimit.policy.policy_file import PolicyFile, ReloadResult
from otel_ratelimit.policy.report import Report
from otel_ratelimit.policy.resolve import DEFAULT_SOURCE, PREFLIGHT_SOURCE, PolicyResolver, policy_hash

__all__ = [
    "DEFAULT_SOURCE",
    "PREFLIGHT_SOURCE",
    "Cache",
    "CachePrice",
    "FreshCounter",
    "Memory",
    "Policy",
    "PolicyFile",
    "PolicyResolver",
    "ReloadResult",
    "Report",
    "builtin_policy",
    "fresh_between",
    "fresh_counters",
    "listed",
    "load_policy",
    "parse_policy",
    "policy_hash",
]
