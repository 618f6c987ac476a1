"""A policy gives the plan of each route."""

from __future__ import annotations

import textwrap

import pytest

from otel_ratelimit.core.identity import Identity
from otel_ratelimit.core.route_plan import KeySpec, Strategy
from otel_ratelimit.policy import PolicyResolver, builtin_policy, parse_policy
from otel_ratelimit.policy.resolve import policy_hash

POLICY = """
version = 1
exempt = ["/health", "GET /livez", "internal.*"]
[tiers]
expensive = "10/minute; 50/hour"
default = "100/minute"
[[routes]]
match = "POST /api/ai/*"
tier = "expensive"
key = "header:X-Api-Key"
strategy = "moving-window"
on_error = "open"
cost = 2
[[routes]]
match = "/api/ai/**"
limits = "30/minute"
[[routes]]
match = "/api/jobs/<id>"
limits = "20/minute; 100/hour"
shadow = "100/hour"
[[routes]]
match = "jobs.*"
limits = "7/minute"
shadow = true
"""


def resolver(text=POLICY, *, shadow=False, namespace="app"):
    return PolicyResolver(parse_policy(textwrap.dedent(text), "p.toml"), namespace, shadow=shadow)


def amounts(plan):
    return [window.amount for window in plan.windows]


def prefixes(plan):
    return [window.prefix for window in plan.windows]


def test_a_rule_gives_everything_it_says():
    plan = resolver().plan("ai.run", "POST", "/api/ai/run")
    assert (plan.tier, plan.cost, plan.on_error) == ("expensive", 2, "open")
    assert plan.key == KeySpec("header", "X-Api-Key")
    assert [(w.amount, w.seconds, w.text, w.name) for w in plan.windows] == [
        (10, 60, "10 per 1 minute", "10-per-minute"),
        (50, 3600, "50 per 1 hour", "50-per-hour"),
    ]
    assert {w.strategy for w in plan.windows} == {Strategy.MOVING_WINDOW}
    assert plan.source == "routes[0] (p.toml:7)"


def test_the_first_rule_that_matches_wins_and_methods_are_told_apart():
    assert amounts(resolver().plan("ai.run", "GET", "/api/ai/run")) == [30]
    assert amounts(resolver().plan("ai.run", "POST", "/api/ai/deep/run")) == [30]


def test_a_parameter_matches_whatever_its_name_and_converter():
    assert amounts(resolver().plan("job", "GET", "/api/jobs/<int:job_id>")) == [20, 100]
    assert amounts(resolver().plan("job", "GET", "/api/jobs/<id>/")) == [20, 100]
    assert resolver().plan("job", "GET", "/api/jobs/fixed").source == "default_tier"


def test_an_endpoints_name_matches_with_wildcards():
    assert amounts(resolver().plan("jobs.create", "POST", "/x")) == [7]


def test_everything_else_has_the_default_tier_and_the_defaults():
    plan = resolver().plan("other", "GET", "/other")
    assert (plan.tier, plan.source, plan.cost, plan.on_error) == ("default", "default_tier", 1, "closed")
    assert plan.key == KeySpec("ip+user")
    assert amounts(plan) == [100]


def test_exempt_routes_have_no_windows():
    plans = resolver()
    assert plans.plan("h", "GET", "/health").exempt
    assert plans.plan("l", "HEAD", "/livez").exempt
    assert not plans.plan("l", "POST", "/livez").exempt
    assert plans.plan("internal.ping", "POST", "/x").exempt


def test_head_is_planned_as_get():
    plans = resolver()
    assert plans.plan("ai", "HEAD", "/api/ai/run") == plans.plan("ai", "GET", "/api/ai/run")


def test_an_unknown_method_is_other():
    assert resolver().plan("e", "BREW", "/x").method == "_OTHER"
    assert resolver().unmatched("BREW").method == "_OTHER"


def test_methods_of_one_rule_share_a_counter_unless_the_scope_says_method():
    text = 'version = 1\n[[routes]]\nmatch = "/a"\nlimits = "5/minute"\n{}'
    shared, apart = resolver(text.format("")), resolver(text.format('scope = "method"\n'))
    assert prefixes(shared.plan("a", "GET", "/a")) == prefixes(shared.plan("a", "POST", "/a"))
    assert prefixes(apart.plan("a", "GET", "/a")) != prefixes(apart.plan("a", "POST", "/a"))


def test_the_scope_rule_and_tier_are_shared_by_endpoints():
    rule = '[[routes]]\nmatch = "{}"\ntier = "cheap"\nscope = "{{0}}"\n'
    text = "version = 1\n" + rule.format("/a/*") + rule.format("/b")
    by_rule, by_tier = resolver(text.format("rule")), resolver(text.format("tier"))
    assert prefixes(by_rule.plan("x", "GET", "/a/x")) == prefixes(by_rule.plan("y", "GET", "/a/y"))
    assert prefixes(by_rule.plan("x", "GET", "/a/x")) != prefixes(by_rule.plan("b", "GET", "/b"))
    assert prefixes(by_tier.plan("x", "GET", "/a/x")) == prefixes(by_tier.plan("b", "GET", "/b"))


def test_a_changed_amount_and_another_order_of_rules_keep_the_counters():
    before = resolver().plan("ai.run", "POST", "/api/ai/run")
    changed = POLICY.replace("10/minute", "99/minute").replace(
        '[[routes]]\nmatch = "POST',
        '[[routes]]\nmatch = "/first"\nlimits = "1/day"\n[[routes]]\nmatch = "POST',
        1,
    )
    after = resolver(changed).plan("ai.run", "POST", "/api/ai/run")
    assert amounts(after) == [50, 99] or amounts(after) == [99, 50]
    assert sorted(prefixes(after)) == sorted(prefixes(before))


def test_two_applications_and_two_endpoints_have_counters_of_their_own():
    plans = [
        resolver(namespace=namespace).plan(endpoint, "GET", "/same")
        for namespace in ("one", "two", "a|b")
        for endpoint in ("e", "f", "e:tier=default", "e|60")
    ]
    assert len({prefix for plan in plans for prefix in prefixes(plan)}) == len(plans)


def test_no_part_of_a_prefix_can_be_mistaken_for_another():
    (prefix,) = prefixes(resolver(namespace="a|b%").plan("x|y:z", "GET", "/other"))
    assert prefix == "a%7Cb%25|x%7Cy%3Az:|60|fixed-window|"


def test_shadow_of_a_rule_of_one_limit_and_of_everything():
    plans = resolver()
    assert [w.shadow for w in plans.plan("jobs.create", "POST", "/x").windows] == [True]
    assert [w.shadow for w in plans.plan("job", "GET", "/api/jobs/<id>").windows] == [False, True]
    everything = resolver(shadow=True)
    assert all(w.shadow for w in everything.plan("other", "GET", "/other").windows)
    assert all(w.shadow for w in everything.unmatched("GET").windows)
    assert all(w.shadow for w in everything.preflight("e", "/e").windows)


def test_unmatched_requests_share_one_bucket_with_limits_of_their_own_if_given():
    plain = resolver()
    assert prefixes(plain.unmatched("GET")) == prefixes(plain.unmatched("DELETE"))
    assert amounts(plain.unmatched("GET")) == [100]
    own = resolver('version = 1\n[unmatched]\nlimits = "9/minute"\nshadow = true\n').unmatched("GET")
    assert (own.tier, amounts(own), own.windows[0].shadow) == ("custom", [9], True)
    assert own.route == "<unmatched>"


def test_preflight_has_a_bucket_of_its_own():
    plans = resolver()
    preflight = plans.preflight("ai.run", "/api/ai/run")
    assert amounts(preflight) == [100]
    assert not set(prefixes(preflight)) & set(prefixes(plans.plan("ai.run", "POST", "/api/ai/run")))


def test_preflight_of_a_route_of_the_default_tier_drains_nothing_of_it():
    plans = resolver("version = 1\n")
    assert not set(prefixes(plans.preflight("e", "/e"))) & set(prefixes(plans.plan("e", "GET", "/e")))


@pytest.mark.parametrize("exempt", ["/e", "OPTIONS /e", "e", "/**"])
def test_preflight_of_an_exempt_route_is_exempt(exempt):
    plan = resolver(f'version = 1\nexempt = ["{exempt}"]\n').preflight("e", "/e")
    assert (plan.exempt, plan.windows, plan.method) == (True, (), "OPTIONS")


def test_preflight_of_a_route_whose_get_alone_is_exempt_is_limited():
    assert not resolver('version = 1\nexempt = ["GET /e"]\n').preflight("e", "/e").exempt


CLIENTS = """
version = 1
[[clients]]
match = "user:importer"
multiply = 5
[[clients]]
match = "ip:10.0.0.0/8"
exempt = true
[[clients]]
match = "ip:2001:db8::/32"
multiply = 0.001
"""


@pytest.mark.parametrize(
    ("address", "user", "expected"),
    [
        ("192.0.2.1", "importer", (5.0, False)),
        ("10.1.2.3", "importer", (5.0, False)),
        ("10.1.2.3", None, (1.0, True)),
        ("2001:db8::7", "bob", (0.001, False)),
        ("192.0.2.1", "bob", None),
        ("unknown", None, None),
    ],
)
def test_known_clients_are_found_by_user_then_by_address(address, user, expected):
    plans = resolver(CLIENTS)
    assert plans.has_clients
    override = plans.client(Identity("i" + "0" * 32, "ip", address, user))
    assert (override and (override.multiply, override.exempt)) == expected


def test_scaled_windows_keep_the_counter_and_never_fall_to_nothing():
    plans = resolver(CLIENTS)
    windows = plans.plan("e", "GET", "/e").windows
    larger = plans.scaled(windows, plans.client(Identity("", "ip", "x", "importer")))
    smaller = plans.scaled(windows, plans.client(Identity("", "ip", "2001:db8::1", None)))
    assert [(w.amount, w.text, w.name) for w in larger] == [(500, "500 per 1 minute", "500-per-minute")]
    assert [w.amount for w in smaller] == [1]
    assert larger[0].prefix == windows[0].prefix


def test_unused_rules_are_named():
    used = [("ai.run", "POST", "/api/ai/run"), ("job", "GET", "/api/jobs/<int:id>")]
    assert resolver().unused_rules(used) == ["routes[1] (p.toml:14)", "routes[3] (p.toml:21)"]


def test_the_hash_changes_with_what_the_policy_says_and_with_nothing_else():
    one = parse_policy("version = 1\n", "a.toml")
    same = parse_policy("# a comment\nversion = 1\n\n", "b.toml")
    other = parse_policy('version = 1\non_error = "open"\n', "a.toml")
    assert policy_hash(one) == policy_hash(same) == policy_hash(builtin_policy())
    assert policy_hash(one) != policy_hash(other)
    assert len(policy_hash(one)) == 12


def test_what_is_only_observed_has_a_counter_of_its_own():
    text = 'version = 1\n[[routes]]\nmatch = "{}"\ntier = "cheap"\n{}'
    plans = resolver(text.format("GET /a", "shadow = true\n") + text.format("POST /a", "")[12:])
    watched, enforced = plans.plan("a", "GET", "/a"), plans.plan("a", "POST", "/a")
    assert (watched.windows[0].shadow, enforced.windows[0].shadow) == (True, False)
    assert not set(prefixes(watched)) & set(prefixes(enforced))


@pytest.mark.parametrize("shadow", [False, True])
def test_our_own_api_is_limited_by_address_even_in_shadow(shadow):
    plan = resolver(shadow=shadow).own_api("_otel_ratelimit_api.metrics", "GET", "/api/rate-limit/metrics")
    [window] = plan.windows
    assert (window.amount, window.seconds, window.shadow) == (120, 60, False)
    assert (plan.key, plan.tier) == (KeySpec("ip"), "rate-limit-api")
    another = resolver(shadow=shadow).own_api(
        "_otel_ratelimit_api.status", "DELETE", "/api/rate-limit/status"
    )
    assert another.windows[0].prefix == window.prefix, "its endpoints share one count"


def test_a_rule_for_options_is_in_use_where_flask_answers_it():
    rules = 'version = 1\n[[routes]]\nmatch = "OPTIONS /e"\nlimits = "1/minute"\n'
    made = resolver(rules)
    assert not made.unused_rules([("e", "GET", "/e")])
    assert made.unused_rules([("f", "GET", "/f")])
    assert [window.amount for window in made.preflight("e", "/e").windows] == [1]


@pytest.mark.parametrize("scope", ["endpoint", "method", "rule", "tier"])
def test_options_that_a_view_answers_shares_no_counter_with_another_method(scope):
    rule = f'[[routes]]\nmatch = "/e"\ntier = "cheap"\nscope = "{scope}"\n'
    made = resolver(f"version = 1\n{rule}")
    others = {window.prefix for method in ("GET", "POST") for window in made.plan("e", method, "/e").windows}
    options = made.preflight("e", "/e", by_flask=False)
    assert [window.amount for window in options.windows] == [200]
    assert others.isdisjoint(window.prefix for window in options.windows)
