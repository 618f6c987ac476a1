"""The policy: from a TOML file to the limits that apply to each route."""

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
