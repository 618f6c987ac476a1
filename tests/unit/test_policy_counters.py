"""Counters follow the route and the limit, not the words of the policy."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import PolicyResolver, fresh_between, fresh_counters, parse_policy
from otel_ratelimit.policy.fresh_counters import FreshCounter, listed

METHODS = ["GET", "POST", "PUT", "DELETE"]
ROUTES = [("list", "/a"), ("list", "/a/<int:n>"), ("make", "/b"), ("one.more", "/a/b/<x>"), ("deep", "/c/d")]
SIBLINGS = {endpoint: [r for e, r in ROUTES if e == endpoint] for endpoint, _ in ROUTES}
TARGETS = ["/a", "/a/*", "/a/**", "/b", "/a/<n>", "/c/d", "make", "one.*", "/**"]
LIMITS = ["5/minute", "7/minute; 70/hour", "9/hour"]


def resolver(text):
    return PolicyResolver(parse_policy(text, "p.toml"), "app", shadow=False)


def plans(text):
    found = resolver(text)
    for endpoint, route in ROUTES:
        for method in METHODS:
            yield found.plan(endpoint, method, route, SIBLINGS[endpoint])


def prefixes(text):
    return {
        (plan.endpoint, plan.method, plan.route): sorted(window.prefix for window in plan.windows)
        for plan in plans(text)
    }


@st.composite
def policies(draw):
    """Rules as (methods, target, tier or limits, scope, strategy), of which none hides the next."""
    rules = []
    for target in draw(st.lists(st.sampled_from(TARGETS[:-1]), unique=True, max_size=5)):
        for methods in draw(st.sampled_from([[["GET"], ["POST", "PUT"]], [["POST"]], [[]], [["GET"], []]])):
            own = "limits", f"{100 + len(rules)}/minute"
            by = draw(st.sampled_from([("tier", "one"), ("tier", "two"), own]))
            scope = draw(st.sampled_from(["endpoint", "endpoint", "method", "rule", "tier"]))
            if by == own and scope == "tier":
                scope = "rule"
            rules.append((methods, target, by, scope, draw(st.sampled_from(["", "moving-window"]))))
    return rules


def written(rules, *, names=("default", "one", "two"), spell=lambda methods, target: (methods, target)):
    tiers = dict(zip(("default", "one", "two"), names, strict=True))
    lines = ["version = 1", f'default_tier = "{tiers["default"]}"', "[tiers]"]
    lines += [f'{tiers[name]} = "{limits}"' for name, limits in zip(tiers, LIMITS, strict=True)]
    for named, path, (kind, value), scope, strategy in rules:
        methods, target = spell(named, path)
        match = f"{','.join(methods)} {target}" if methods else target
        lines += ["[[routes]]", f'match = "{match}"', f'{kind} = "{tiers.get(value, value)}"']
        lines += [f'scope = "{scope}"']
        lines += [f'strategy = "{strategy}"'] if strategy else []
    return "\n".join(lines) + "\n"


def accepted(rules):
    try:
        return written(rules) and parse_policy(written(rules), "p.toml")
    except PolicyError:  # a rule hides another
        return None


@settings(max_examples=80, deadline=None)
@given(policies().filter(accepted), st.integers(0, 2**32))
def test_other_names_of_tiers_and_other_spellings_of_matches_leave_every_counter(rules, seed):
    chance = random.Random(seed)

    def spell(methods, target):
        if "GET" in methods:
            methods = [*methods, "HEAD"]
        methods = [chance.choice([str.lower, str.upper])(method) for method in methods * 2]
        chance.shuffle(methods)
        target = target.replace("<n>", chance.choice(["<int:id>", "<path:x>"]))
        return methods, target + (chance.choice(["", "/", "  "]) if target.startswith("/") else " ")

    renamed = written(rules, names=("z", "basis", "a"), spell=spell)

    assert prefixes(renamed) == prefixes(written(rules))
    assert fresh_between(parse_policy(written(rules), "o.toml"), parse_policy(renamed, "n.toml")) == []


@settings(max_examples=80, deadline=None)
@given(policies().filter(accepted))
def test_no_two_budgets_are_merged(rules):
    """Requests share a counter only where one rule, or one tier, decides for both."""
    text = written(rules)
    owners = {}
    for plan in plans(text):
        for window in plan.windows:
            owners.setdefault(window.prefix, set()).add((plan.tier, window.amount, window.shadow))
    assert all(len(each) == 1 for each in owners.values()), owners


def test_rules_for_different_methods_of_an_endpoint_have_counters_of_their_own():
    text = """version = 1
[[routes]]
match = "GET /b"
limits = "200/minute"
[[routes]]
match = "POST /b"
limits = "10/minute"
"""
    found = prefixes(text)
    assert found["make", "GET", "/b"] != found["make", "POST", "/b"] != found["make", "PUT", "/b"]
    assert found["make", "PUT", "/b"] == found["make", "DELETE", "/b"]


def test_rules_for_two_routes_of_one_endpoint_have_counters_of_their_own():
    text = 'version = 1\n[[routes]]\nmatch = "/a/<n>"\nlimits = "3/minute"\n'
    found = prefixes(text)
    assert found["list", "GET", "/a"] != found["list", "GET", "/a/<int:n>"]
    assert prefixes("version = 1\n")["list", "GET", "/a"] == found["list", "GET", "/a"]


@pytest.mark.parametrize(
    "rules",
    [
        '[[routes]]\nmatch = "/b"\nlimits = "5/minute"\n',
        '[[routes]]\nmatch = "make"\nlimits = "50/minute"\n',
        '[[routes]]\nmatch = "/**"\ntier = "default"\n',
        '[[routes]]\nmatch = "GET /b"\ntier = "default"\n[[routes]]\nmatch = "/b"\ntier = "default"\n',
    ],
)
def test_a_route_that_moves_from_the_default_tier_to_a_rule_is_no_fresh_budget(rules):
    tier = '[tiers]\ndefault = "5/minute"\n'
    before, after = prefixes(f"version = 1\n{tier}"), prefixes(f"version = 1\n{tier}{rules}")
    for method in METHODS:
        assert after["make", method, "/b"] == before["make", method, "/b"]


def test_one_rule_written_as_two_of_a_tier_keeps_the_counter():
    tier = 'version = 1\n[tiers]\nt = "5/minute"\n'
    one = f'{tier}[[routes]]\nmatch = "GET,POST /b"\ntier = "t"\n'
    two = f'{tier}[[routes]]\nmatch = "POST /b"\ntier = "t"\n[[routes]]\nmatch = "GET /b"\ntier = "t"\n'
    assert prefixes(one) == prefixes(two)


CHANGES = [
    ('limits = "5/minute"', 'limits = "9/minute"', None),
    ('limits = "5/minute"', 'limits = "5/minute"\nstrategy = "moving-window"', "strategy was fixed-window"),
    (
        'limits = "5/minute"',
        'limits = "5/minute"\nkey = "ip"',
        "are now distinguished by ip, before by ip+user",
    ),
    ('limits = "5/minute"', 'limits = "5/hour"', "no window of this length"),
    ('limits = "5/minute"\nshadow = true', 'limits = "5/minute"', "it is enforced now"),
    ('limits = "5/minute"', 'limits = "5/minute"\nscope = "rule"', "what shares its counter"),
]


@pytest.mark.parametrize(("old", "new", "reason"), CHANGES)
def test_limits_that_start_from_zero_are_listed_with_their_reason(old, new, reason):
    rule = 'version = 1\n[[routes]]\nmatch = "POST /b"\n{}\n'
    before, after = (parse_policy(rule.format(each), "p.toml") for each in (old, new))

    fresh = [str(counter) for counter in fresh_between(before, after)]

    if reason is None:
        assert fresh == []
    else:
        assert len(fresh) == 1
        assert fresh[0].startswith("POST /b: 5 per 1 ")
        assert reason in fresh[0]


def test_a_route_that_was_exempt_starts_from_zero():
    before = parse_policy('version = 1\nexempt = ["/b"]\n', "p.toml")
    after = parse_policy('version = 1\n[[routes]]\nmatch = "/b"\nlimits = "5/minute"\n', "p.toml")

    assert [str(each) for each in fresh_between(before, after)] == [
        "* /b: 5 per 1 minute starts from zero: there was no limit"
    ]


def test_a_new_route_resets_no_counter():
    assert fresh_counters([], plans("version = 1\n")) == []


def test_a_long_list_is_cut_and_says_so():
    fresh = [FreshCounter("GET", f"/{n}", "5 per 1 minute", "there was no limit") for n in range(25)]
    assert listed(fresh).count("starts from zero") == 10
    assert listed(fresh).endswith("and 15 more")
