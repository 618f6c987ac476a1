"""The suggested policy file is valid and readable, and contains only observed routes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.analytics.policy_suggestion import MAX_TIERS, MIN_AMOUNT, suggest
from otel_ratelimit.analytics.reader import Excess, LimitUse
from otel_ratelimit.cli.policy_suggest_file import known_tiers, pattern_path, policy_text, suggested_policy
from otel_ratelimit.core.names import API_TIER, APPLICATION_TIER, UNMATCHED_ROUTE
from otel_ratelimit.core.periods import period
from otel_ratelimit.policy import PolicyResolver, builtin_policy, parse_policy
from otel_ratelimit.policy.route_pattern import RoutePattern

WEEK = period("2026-01-01", "2026-01-07")


def seen(endpoint, method="GET", *, each=3, windows=500, amount=100, seconds=60, tier="default"):
    """`windows` client windows, in each of which a client asked `each` times; `each` <= `amount`."""
    unit = {60: "minute", 3600: "hour"}[seconds]
    bins = dict.fromkeys((-(-100 * used // amount) for used in range(1, each + 1)), windows)
    text = f"{amount} per 1 {unit}"
    return LimitUse(endpoint, method, tier, text, amount, seconds, bins, bins)


def written(uses, policy=None, excess=()):
    """The text of the file, what it says, and how it resolves."""
    policy = policy or builtin_policy()
    suggestion = suggest(uses, excess, known_tiers=known_tiers(policy))
    text = policy_text(suggested_policy(suggestion, policy), policy, WEEK, 0.01)
    read = parse_policy(text, "suggested.toml")
    return text, read, PolicyResolver(read, "app", shadow=False)


def unwrapped(text):
    """The comments of a file, each on one line."""
    joined = re.sub(r"\n# {3,5}(?! )", " ", text)
    return [line.removeprefix("# ").strip() for line in joined.splitlines() if line.startswith("# ")]


def limits_of(resolver, method, route):
    return [window.text for window in resolver.plan("anything", method, route).windows]


def test_each_route_gets_what_its_clients_need_rounded_up():
    _, _, resolver = written(
        [
            seen("/api/jobs/<int:job_id>", each=12),
            seen("/api/jobs/latest", each=45),
            seen("/api/jobs", "POST", each=2),
        ]
    )
    assert limits_of(resolver, "GET", "/api/jobs/<int:job_id>") == ["20 per 1 minute"]
    assert limits_of(resolver, "GET", "/api/jobs/latest") == ["50 per 1 minute"]
    assert limits_of(resolver, "POST", "/api/jobs") == [f"{MIN_AMOUNT} per 1 minute"]


def test_what_was_not_seen_keeps_the_default():
    _, _, resolver = written([seen("/api/jobs/<id>", each=12)])
    assert limits_of(resolver, "GET", "/api/jobs/latest") == ["100 per 1 minute"]
    assert limits_of(resolver, "DELETE", "/api/jobs/<id>") == ["100 per 1 minute"]


def test_too_little_evidence_is_said_and_the_default_kept():
    text, read, resolver = written([seen("/rare", each=1, windows=9), seen("/busy", each=4)])
    assert limits_of(resolver, "GET", "/rare") == ["100 per 1 minute"]
    assert [rule.match for rule in read.routes] == ["GET /busy"]
    assert (
        "\n# 1 route keeps the default tier: too little was seen of it; a suggestion takes 100 requests"
        in text
    )
    assert "\n#   GET /rare: 9 requests in 9 client windows\n" in text


def test_the_evidence_stands_above_its_rule():
    text, _, _ = written([seen("/busy", each=4, windows=700)])
    assert unwrapped(text.partition("[[routes]]")[0])[-1] == (
        "GET: 4 requests a minute would have refused none of 2,800 requests in 700 client windows;"
        " 99 % of the requests found at most 4 of the present 100 requests a minute used"
    )


def test_routes_of_like_need_share_a_tier_and_methods_a_rule():
    _, read, _ = written(
        [seen("/a", each=15), seen("/a", "POST", each=18), seen("/b", each=20), seen("/c", each=100)]
    )
    assert [(rule.match, rule.tier) for rule in read.routes] == [
        ("GET,POST /a", "regular"),
        ("GET /b", "regular"),
        ("GET /c", "default"),
    ]


def test_there_are_few_tiers_however_unlike_the_needs_and_nobody_gets_less_than_needed():
    needs = {f"/r{n}": n for n in (1, 9, 15, 40, 90, 190, 450, 900, 1900, 4500)}
    _, read, resolver = written(
        [seen(route, each=n, amount=100 if n < 100 else 10_000) for route, n in needs.items()]
    )
    assert len({rule.tier for rule in read.routes}) <= MAX_TIERS
    for route, need in needs.items():
        assert resolver.plan("e", "GET", route).windows[0].amount >= need


def test_tiers_are_named_from_the_tightest_to_the_widest():
    text, _, _ = written([seen("/a", each=5), seen("/b", each=20), seen("/c", each=45)])
    tiers = re.findall(r'^(\w+) = "(\d+)/minute"$', text, re.MULTILINE)
    assert tiers == [("default", "100"), ("rare", "5"), ("regular", "20"), ("constant", "50")]


def test_each_window_of_a_limit_gets_its_own_amount_and_the_longer_allows_no_less():
    _, _, resolver = written([seen("/a", each=18), seen("/a", each=6, amount=500, seconds=3600)])
    assert limits_of(resolver, "GET", "/a") == ["20 per 1 minute", "20 per 1 hour"]


def test_a_limit_is_never_looser_than_the_one_under_which_all_went_well():
    _, _, resolver = written([seen("/a", each=3, amount=3), seen("/b", each=60, amount=70)])
    assert limits_of(resolver, "GET", "/a") == ["3 per 1 minute"]
    assert limits_of(resolver, "GET", "/b") == ["70 per 1 minute"]


def test_a_limit_that_refused_many_is_raised():
    text = "10 per 1 minute"
    steps = dict.fromkeys(range(10, 101, 10), 500)
    use = LimitUse("/a", "GET", "default", text, 10, 60, steps | {101: 500 * 5}, steps)
    _, _, resolver = written([use], excess=[Excess("/a", "GET", "default", text, 10, 60, 5, 500)])
    assert limits_of(resolver, "GET", "/a") == ["20 per 1 minute"]


def test_of_two_limits_with_one_window_the_one_that_most_requests_met_is_taken():
    _, _, resolver = written([seen("/a", each=15, windows=500), seen("/a", each=400, windows=1, amount=500)])
    assert limits_of(resolver, "GET", "/a") == ["20 per 1 minute"]


def test_templates_that_differ_in_their_parameters_names_only_share_the_wider_tier():
    _, read, resolver = written([seen("/a/<int:n>", each=12), seen("/a/<name>", each=45)])
    assert len(read.routes) == 1
    assert limits_of(resolver, "GET", "/a/<int:n>") == ["50 per 1 minute"]


@pytest.mark.parametrize(
    "use",
    [
        seen(UNMATCHED_ROUTE),
        seen("/a", tier=APPLICATION_TIER),
        seen("/api/rate-limit/metrics", tier=API_TIER),
        seen("/a", "OPTIONS"),
        seen("/a", "_OTHER"),
        seen("/health"),
        seen("/health/<part>"),
    ],
    ids=lambda use: f"{use.method}-{use.endpoint}-{use.tier}",
)
def test_there_is_no_rule_for_what_no_rule_should_speak_of(use):
    _, read, _ = written([use, seen("/busy")])
    assert [rule.match for rule in read.routes] == ["GET /busy"]


PRESENT = r"""
version = 1
default_tier = "usual"
exempt = ["/live \"or\" not", "meta.*"]
on_error = "open"

[tiers]
usual = "60/minute; 600/hour"
scraps = "3/minute"
unused = "1/day"

[[routes]]
match = "POST /api/ai/**"
limits = "10/minute"
key = "user"
cost = 2
strategy = "moving-window"

[[clients]]
match = "user:batch\\importer"
multiply = 5.0

[[clients]]
match = "ip:192.0.2.0/24"
exempt = true

[unmatched]
tier = "scraps"

[identity]
user = "header:X-User"

[memory]
capacity = "10 MB"

[analytics]
retention = "90d"
client_addresses = "hashed"

[report]
to = ["team@example.com", "ops@example.com"]
from = "limits@example.com"

[cache]
engine = "redis"
currency = "EUR"
value_of_saved_millisecond = 1e-7

[[cache.prices]]
name = "our own"
kind = "self-hosted"
as_of = 2026-06-01
month = 30

[[cache.prices]]
name = "node \"4 GB\""
kind = "instance"
memory = "4 GB"
month = 95.5
""".replace('exempt = ["/live \\"or\\" not", "meta.*"]', 'exempt = ["/live", "meta.*"]')


def test_what_the_present_policy_says_of_other_things_is_kept():
    present = parse_policy(PRESENT, "present.toml")
    _, read, resolver = written([seen("/api/ai/ask", "POST", each=12), seen("/a", each=12)], present)
    kept = {"tiers", "routes"}
    assert read.model_dump(exclude=kept) == present.model_dump(exclude=kept)
    assert read.tiers["usual"] == "60/minute; 600/hour"
    assert read.tiers["scraps"] == "3/minute"
    assert "unused" not in read.tiers
    asked, other = read.routes[1], read.routes[0]
    assert (asked.match, asked.key, asked.cost, asked.strategy) == (
        "POST /api/ai/ask",
        "user",
        2,
        "moving-window",
    )
    assert (other.match, other.key, other.cost) == ("GET /a", None, 1)
    assert limits_of(resolver, "GET", "/elsewhere") == ["60 per 1 minute", "600 per 1 hour"]


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("/api/jobs/<int:job_id>", "/api/jobs/<job_id>"),
        ('/a/<regex("[a-z]{3}"):code>/x', "/a/<code>/x"),
        ("/a/<any(b, c):which>", "/a/<which>"),
        ("/files/<path:name>.txt", "/files/<name>.txt"),
        ("/a/<x>:run", "/a/<x>*run"),
        ("/a b/c?d", "/a*b/c*d"),
        ("/:a", "/*a"),
        ("/", "/"),
        ("no path", None),
    ],
)
def test_a_pattern_names_the_route_as_exactly_as_patterns_can(route, path):
    assert pattern_path(route) == path


segment = st.one_of(
    st.sampled_from(["api", "jobs", "<id>", "<int:n>", "<path:rest>", "*", "**", ":a", '"', "\\", "#", "é"]),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), max_size=8),
)
routes = st.one_of(
    st.lists(segment, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20).map(
        "/".__add__
    ),
    st.sampled_from(["<unmatched>", "", "no path", "\n[tiers]"]),
)
methods = st.sampled_from(["GET", "POST", "PUT", "_OTHER", "OPTIONS"])


@given(
    st.dictionaries(
        st.tuples(routes, methods),
        st.tuples(st.integers(1, 120), st.sampled_from([1, 500])),
        max_size=12,
    )
)
def test_whatever_the_routes_are_called_the_file_is_valid_and_enough_for_each(needs):
    _, read, resolver = written(
        [
            seen(route, method, each=each, windows=windows, amount=120)
            for (route, method), (each, windows) in needs.items()
        ]
    )
    named = [RoutePattern.parse(rule.match) for rule in read.routes if "*" not in rule.match]
    for (route, method), (each, windows) in needs.items():
        is_named = any(pattern.matches("", method, route) for pattern in named)
        if windows == 500 and route.startswith("/") and is_named:
            plan = resolver.plan("endpoint", method, route)
            assert plan.exempt or plan.windows[0].amount >= each


RULES = """
version = 1
default_tier = "usual"

[tiers]
usual = "60/minute"

[[routes]]
match = "jobs.create"
tier = "usual"

[[routes]]
match = "POST /login"
limits = "5/minute"

[[routes]]
match = "GET /a"
tier = "usual"
shadow = true

[[routes]]
match = "/b/**"
limits = "60/minute; 70/hour"
scope = "rule"

[[routes]]
match = "/c"
limits = "60/minute; 70/hour"
shadow = "70/hour"
"""


def test_what_rules_of_the_present_policy_say_and_the_suggestion_does_not_is_named():
    text, read, _ = written([seen(path, each=12) for path in ("/a", "/b/1", "/c")], parse_policy(RULES, "p"))
    said = text[text.index("carry over") :].splitlines()[1:]
    assert said == [
        "#   jobs.create: it names an endpoint, while routes are recorded",
        "#   POST /login: it has too few requests to suggest a limit",
        "#   /b/**: it has the scope rule, while here each route counts by itself",
        "#   /c: it observes its limit 70/hour only, which is replaced here",
    ]
    assert {rule.match: rule.shadow for rule in read.routes} == {
        "GET /a": True,
        "GET /b/1": False,
        "GET /c": False,
    }


def test_a_list_of_prices_that_is_empty_stays_so():
    present = parse_policy("version = 1\ncache = { prices = [], reserve = 0.5 }", "p")
    _, read, _ = written([], present)
    assert (read.cache, read.cache.prices) == (present.cache, ())


def test_nothing_seen_is_nothing_suggested():
    suggestion = suggest([], [])
    assert (suggestion.tiers, suggestion.routes, suggestion.undecided) == ({}, (), ())
