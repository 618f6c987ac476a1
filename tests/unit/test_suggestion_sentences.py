"""Sentences of `policy suggest` and recommended limits agree with their figures, for none, one and many."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_ratelimit.analytics.policy_suggestion import suggest
from otel_ratelimit.analytics.reader import Excess, LimitUse
from otel_ratelimit.analytics.recommended_limits import recommend_limits
from otel_ratelimit.cli.policy_suggest import _summarise
from otel_ratelimit.cli.policy_suggest_comments import MAX_LISTED, WIDTH
from otel_ratelimit.cli.policy_suggest_file import known_tiers, policy_text, suggested_policy
from otel_ratelimit.core.periods import period
from otel_ratelimit.core.sentences import between, counted, part_of, per_window, percent
from otel_ratelimit.core.services import ServicesRead
from otel_ratelimit.policy import builtin_policy, parse_policy

WEEK = period("2026-01-01", "2026-01-07")
UNITS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
ONE_OF_MANY = re.compile(r"\b1 (?:requests|routes|rules|tiers|(?:client )?windows|minutes|hours)\b")
MANY_OF_ONE = re.compile(r"\b(?:\d*[02-9]|\d+1|no) (?:request|route|rule|tier|client window)\b")
PART = re.compile(r"([\d,]+) of ([\d,]+) (request|client window)s? \(([<\d.]+) %\)")


def use(endpoint, requests, clients=None, *, method="GET", amount=10, seconds=60):
    text = f"{amount} per 1 {UNITS.get(seconds, 'minute')}"
    clients = {p: n for p, n in requests.items() if p <= 100} if clients is None else clients
    return LimitUse(endpoint, method, "default", text, amount, seconds, requests, clients)


def file_of(uses, excess=(), policy=None, share=0.01, service="jobs"):
    policy = policy or builtin_policy()
    suggestion = suggest(uses, excess, max_rejected_share=share, known_tiers=known_tiers(policy))
    suggested = suggested_policy(suggestion, policy)
    text = policy_text(suggested, policy, WEEK, share, service=service)
    parse_policy(text, "suggested.toml")
    return suggested, text


def comments(text):
    return " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))


def number(text):
    return int(text.replace(",", ""))


def test_what_was_seen_is_of_one_client_at_least():
    """Six requests late in a window that began before: no first arrival of a client is known of them."""
    [found] = recommend_limits([use("/a", {5: 3, 6: 3}, {}, amount=1000)])
    assert (found.requests, found.client_windows) == (6, 1)
    for candidate in found.candidates:
        assert bool(candidate.rejected_requests) == bool(candidate.rejected_clients)
    assert found.reason == (
        "60 requests a minute would have refused none of 6 requests in 1 client window;"
        " too little to rely on: that takes 100 requests in 20 client windows"
    )


bins = st.dictionaries(st.integers(1, 101), st.integers(1, 2000), min_size=1, max_size=6)


@st.composite
def traffic(draw):
    """One limit of one endpoint, whose clients may be unknown, and refusals, maybe of other minutes."""
    amount, seconds = draw(st.sampled_from([1, 2, 10, 100, 150, 5000])), draw(st.sampled_from([*UNITS, 300]))
    requests = draw(bins)
    first = {p: draw(st.integers(0, n)) for p, n in requests.items() if p <= 100}
    endpoint = f"/{draw(st.integers(0, 9))}"
    found = use(endpoint, requests, {p: n for p, n in first.items() if n}, amount=amount, seconds=seconds)
    beyond = draw(st.dictionaries(st.integers(1, 400), st.integers(1, 300), max_size=2))
    excess = [
        Excess(endpoint, "GET", "default", found.limit_text, amount, seconds, refused, windows)
        for refused, windows in beyond.items()
    ]
    return found, excess


@given(traffic(), st.sampled_from([0.0, 0.001, 0.01, 0.5]), st.sampled_from(["clients", "requests"]))
def test_requests_and_clients_of_a_candidate_never_contradict_each_other(seen, share, by):
    found, excess = seen
    [told] = recommend_limits([found], excess, share, by)
    assert told.client_windows >= 1
    for candidate in told.candidates:
        assert bool(candidate.rejected_requests) == bool(candidate.rejected_clients)
        assert candidate.rejected_clients <= candidate.rejected_requests <= told.requests
        assert candidate.rejected_clients <= told.client_windows
        assert candidate.rejected_requests_share == candidate.rejected_requests / told.requests
        assert candidate.rejected_clients_share == candidate.rejected_clients / told.client_windows
    refused = [candidate.rejected_requests for candidate in told.candidates]
    assert refused == sorted(refused, reverse=True), "a higher limit refuses no more"


@given(traffic(), st.sampled_from([0.0, 0.001, 0.01, 0.5]))
@example((use("/0", {10: 1}), []), 0.01)
def test_the_reason_says_what_its_figures_say(seen, share):
    found, excess = seen
    [told] = recommend_limits([found], excess, share)
    highest = told.candidates[-1]
    chosen = told.recommended or highest
    assert told.reason.startswith("even " if told.recommended is None else f"{chosen.limit_value:,} request")
    assert_grammar(told.reason)
    parts = [(number(part), number(whole), what) for part, whole, what, _ in PART.findall(told.reason)]
    if chosen.rejected_requests:
        assert parts == [
            (chosen.rejected_requests, told.requests, "request"),
            (chosen.rejected_clients, told.client_windows, "client window"),
        ]
    else:
        assert not parts
        assert "%" not in told.reason
        assert f"none of {counted(told.requests, 'request')}" in told.reason
    assert ("too little" in told.reason) == (not told.enough_evidence)


def assert_grammar(text):
    assert not ONE_OF_MANY.search(text), text
    assert not MANY_OF_ONE.search(text), text
    for part, whole, _, share in PART.findall(text):
        exact = 100 * number(part) / number(whole)
        assert (share == "0") == (number(part) == 0)
        assert (share == "100") == (part == whole)
        assert abs(float(share.removeprefix("<")) - exact) <= 0.06
    assert "nan" not in text
    assert "per 1 " not in text


@given(st.lists(traffic(), max_size=12), st.sampled_from([0.0, 0.01, 0.5]))
def test_every_comment_of_the_file_agrees_with_its_figures(seen, share):
    suggested, text = file_of([u for u, _ in seen], [e for _, es in seen for e in es], share=share)
    assert_grammar(comments(text))
    assert all(len(line) <= WIDTH for line in text.splitlines() if line.startswith("#"))
    requests, routes = suggested.seen
    assert f"# Seen: {counted(requests, 'request')} to {counted(routes, 'route')}, " in text
    assert text.count("keeps the default tier") + text.count("keep the default tier") == len(
        {left.kind for left in suggested.undecided}
    )


@pytest.mark.parametrize("routes", [1, 2, MAX_LISTED, MAX_LISTED + 1, 150])
def test_routes_that_were_used_too_little_are_one_sentence_with_their_number(routes):
    seen = [use(f"/r{n}", {10: n + 1}, {10: 5}) for n in range(routes)]
    suggested, text = file_of([*seen, use("/busy", {10: 500, 20: 500})])
    assert len(suggested.undecided) == routes
    keeps = "1 route keeps" if routes == 1 else f"{routes} routes keep"
    assert text.count("too little was seen") == 1
    assert f"\n# {keeps} the default tier: too little was seen of " in text
    named = re.findall(r"^#   GET (/r\d+): (.*)$", text, re.MULTILINE)
    assert len(named) == min(routes, MAX_LISTED)
    assert named[0] == (
        f"/r{routes - 1}",
        f"{counted(routes, 'request')} in 5 client windows",
    )
    more = re.findall(r"^#   and (\d+) more, with (.*); --json names them all$", text, re.MULTILINE)
    if routes <= MAX_LISTED:
        assert not more
    elif routes == MAX_LISTED + 1:
        assert more == [("1", "1 request")]
    else:
        assert more == [(str(routes - MAX_LISTED), f"1 to {routes - MAX_LISTED} requests each")]


def test_routes_without_a_limit_high_enough_say_each_what_it_would_have_refused():
    excess = [Excess(f"/w{n}", "GET", "default", "10 per 1 minute", 10, 60, 500, 30) for n in range(2)]
    _, text = file_of(
        [use(f"/w{n}", {10 * p: 30 for p in range(1, 11)} | {101: 15_000}) for n in range(2)], excess
    )
    assert "# 2 routes keep the default tier: every limit that was tried would have refused too much." in text
    assert (
        "GET /w1: even 100 requests a minute, 10 times the present limit, would have refused 12,300 of 15,300"
        " requests (80.4 %) in 30 of 30 client windows (100 %), which is more than 1 % of the client windows"
    ) in comments(text)


def test_what_the_present_limit_refused_stands_beside_what_is_suggested():
    steps = {10 * p: 500 for p in range(1, 11)}
    excess = [Excess("/a", "GET", "default", "10 per 1 minute", 10, 60, 5, 500)]
    _, text = file_of([use("/a", steps | {101: 2500}, steps)], excess)
    assert (
        "GET: 15 requests a minute would have refused none of 7,500 requests in 500 client windows;"
        " 2,500 of 7,500 requests (33.3 %) were beyond the present 10 requests a minute"
    ) in comments(text)


def test_a_file_without_a_rule_says_why():
    _, little = file_of([use("/a", {10: 3})])
    assert "# No limit can be suggested for any route; the end says why." in little
    assert "# 1 route keeps the default tier: too little was seen of it" in little
    assert "Each limit" not in little
    _, exempt = file_of([use("/health", {10: 500, 20: 500})])
    assert "# Every route that was used is exempt, so there are no rules." in exempt
    assert "default tier:" not in exempt


def test_the_service_is_named_where_it_has_a_name():
    assert "# Suggested by `otel-ratelimit policy suggest` for the service jobs.\n" in file_of([])[1]
    assert "# Suggested by `otel-ratelimit policy suggest`.\n" in file_of([], service=None)[1]


def test_rules_that_are_lost_for_one_reason_are_named_under_it():
    rules = "".join(f'[[routes]]\nmatch = "POST /l{n}"\nlimits = "5/minute"\n' for n in range(1200, 1203))
    _, text = file_of([], policy=parse_policy(f"version = 1\n{rules}", "p"))
    assert text.endswith(
        "#   3 rules, each of which has too few requests to suggest a limit:\n"
        "#     POST /l1200\n#     POST /l1201\n#     POST /l1202\n"
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (counted(0, "request"), "no requests"),
        (counted(1, "request"), "1 request"),
        (counted(1800, "request"), "1,800 requests"),
        (part_of(1, 1, "request"), "1 of 1 request (100 %)"),
        (part_of(3, 6, "request"), "3 of 6 requests (50 %)"),
        (per_window(5, 60), "5 requests a minute"),
        (per_window(1, 3600), "1 request an hour"),
        (per_window(1200, 86_400), "1,200 requests a day"),
        (per_window(20, 300), "20 requests in 5 minutes"),
        (per_window(20, 172_800), "20 requests in 2 days"),
        (per_window(2, 1), "2 requests a second"),
        (percent(0.0), "0 %"),
        (percent(1e-9), "<0.01 %"),
        (percent(0.00674), "0.67 %"),
        (percent(0.01), "1 %"),
        (percent(1 / 3), "33.3 %"),
        (percent(0.99999), "99.99 %"),
        (percent(1.0), "100 %"),
        (between([4, 9, 3], "request"), "3 to 9 requests"),
        (between([1], "request"), "1 request"),
    ],
)
def test_figures_are_said_as_people_say_them(said, expected):
    assert said == expected


@given(st.integers(1, 10**9), st.data())
def test_a_percentage_is_none_or_all_only_where_it_is_just_that(whole, data):
    part = data.draw(st.integers(0, whole))
    said = percent(part / whole)
    assert (said == "0 %") == (part == 0)
    assert (said == "100 %") == (part == whole)


BUSY = {10: 500, 20: 500}
RULE = '[[routes]]\nmatch = "POST /login{}"\nlimits = "5/minute"\n'


@pytest.mark.parametrize(
    ("busy", "rare", "rules", "said"),
    [
        (0, 1, 0, ["1 request to 1 route, ", "no rules, 1 tier; 1 route keeps the default tier, "]),
        (1, 0, 0, ["1,000 requests to 1 route, ", "1 rule, 2 tiers\n"]),
        (
            1,
            0,
            1,
            ["1,000 requests to 1 route, ", "1 rule, 2 tiers; 1 rule of the present policy is"],
        ),
        (
            2,
            2,
            2,
            [
                "2,002 requests to 4 routes, ",
                "2 rules, 2 tiers; 2 routes keep",
                "; 2 rules of the present policy are",
            ],
        ),
    ],
)
def test_the_summary_agrees_with_what_was_written(capsys, busy, rare, rules, said):
    uses = [use(f"/busy{n}", BUSY) for n in range(busy)] + [use(f"/rare{n}", {10: 1}) for n in range(rare)]
    policy = parse_policy("version = 1\n" + "".join(RULE.format(n) for n in range(rules)), "p")
    suggested, _ = file_of(uses, policy=policy)
    _summarise(suggested, ServicesRead("jobs", ("jobs", "shop")), WEEK, None)
    told = capsys.readouterr().err
    assert all(part in told for part in said), told
    assert "UTC (service jobs; others in this database: shop)\n" in told
    assert_grammar(told)
