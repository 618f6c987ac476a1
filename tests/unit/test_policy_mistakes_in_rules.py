"""Mistakes in the rules and clients of a policy file: patterns, tiers, rules that can never match."""

from __future__ import annotations

import pytest
from policy_problems import only, rule

from otel_ratelimit.policy import parse_policy


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", "has neither a tier nor limits; give exactly one of them"),
        ('limits = "1/minute"\ntier = "cheap"', "has both a tier and limits; give exactly one of them"),
    ],
)
def test_a_rule_has_a_tier_or_limits(lines, expected):
    assert rule(lines) == f"p.toml:2: routes[0]: the rule for '/a' {expected}"


@pytest.mark.parametrize(
    "match",
    [
        "",
        "GET",
        "get",
        "FETCH /a",
        "GET /a /b",
        "/a/**b",
        "POST,FETCH /a",
        "   ",
        "HEAD /a",
        "api/jobs",
        "GET,/a",
    ],
)
def test_what_is_not_a_pattern_is_refused(match):
    assert "routes[0].match" in only(f'version = 1\n[[routes]]\nmatch = "{match}"\nlimits = "1/minute"\n')


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("/a", "/a"),
        ("/a/**", "GET /a/b"),
        ("/**", "jobs.create"),
        ("/a/*", "/a/<int:id>"),
        ("GET,POST /a", "POST /a"),
        ("/a/*", "/a/b*"),
        ("jobs.*", "jobs.create"),
        ("/a/v*", "/a/v*x"),
        ("jobs.*", "jobs.c*e"),
    ],
)
def test_a_rule_that_can_never_match_names_both_lines(earlier, later):
    problem = only(
        f"""\
        version = 1
        [[routes]]
        match = "{earlier}"
        limits = "1/minute"
        [[routes]]
        match = "{later}"
        limits = "2/minute"
        """
    )
    assert problem.startswith(f"p.toml:6: routes[1].match: {later!r} can never match")
    assert f"already matched by {earlier!r} (p.toml:3)" in problem


def test_a_rule_for_what_is_exempt_is_refused():
    problem = only(
        """\
        version = 1
        exempt = [
            "/livez",
            "/api/**",
        ]
        [[routes]]
        match = "POST /api/x"
        limits = "1/minute"
        """
    )
    assert problem.startswith("p.toml:7: routes[0].match: ")
    assert "is exempt because of '/api/**' (p.toml:4)" in problem


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('match = "bob"', "names no client"),
        ('match = "bot:x"', "names no client"),
        ('match = "user:"', "names no client"),
        ('match = "ip:here"', "'here' is neither an address nor a CIDR; write for instance 192.0.2.7, "),
        ('match = "ip:10.0.0.1/8"', "'10.0.0.1/8' has bits set after its prefix; did you mean 10.0.0.0/8?"),
        ('match = "ip:fe80::1%eth0"', "has a zone, and addresses are compared without zones; fe80::1"),
        (
            'match = "ip:::ffff:192.0.2.7"',
            "IPv4-mapped and NAT64 addresses are taken as IPv4; write for instance 192.0.2.7",
        ),
        ('match = "user:bob"\nmultiply = "5"', "'5' is not a number"),
        ('match = "user:bob"\nmultiply = true', "True is not a number"),
        ('match = "user:bob"\nmultiply = nan', "nan is not "),
        ('match = "user:bob"\nmultiply = inf', "inf is not less than or equal to 1000000"),
        ('match = "user:bob"\nmultiply = 0', "is not greater than 0"),
        ('match = "user:bob"\nexempt = "yes"', "'yes' is not true or false"),
    ],
)
def test_a_wrong_client_is_refused(table, expected):
    assert expected in only(f"version = 1\n[[clients]]\n{table}\n")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("user:bob", "user:bob"),
        ("ip:10.0.0.1", "ip:10.0.0.1/32"),
        ("ip:10.0.0.0/8", "ip:10.1.0.0/16"),
        ("ip:2001:db8::/32", "ip:2001:DB8:0::7"),
    ],
)
def test_a_client_that_can_never_match_names_both_lines(earlier, later):
    text = f'version = 1\n[[clients]]\nmatch = "{earlier}"\n[[clients]]\nmatch = "{later}"\n'
    assert only(text) == (
        f"p.toml:5: clients[1].match: {later!r} can never match: "
        f"it is already matched by {earlier!r} (p.toml:3); "
        "put the more specific one first, or remove one of them"
    )


def test_clients_that_differ_stand_beside_each_other():
    clients = ["user:a", "user:b", "user:10.0.0.1", "ip:10.0.0.1", "ip:10.0.0.0/8", "ip:a00::/8", "ip:::/0"]
    tables = "".join(f'[[clients]]\nmatch = "{client}"\n' for client in clients)
    assert len(parse_policy(f"version = 1\n{tables}", "p.toml").clients) == len(clients)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("PSOT /a", "'PSOT /a': 'PSOT' is not a method; did you mean 'POST'?"),
        ("get", "'get' names a method and no path; write for instance \"GET /**\""),
        ("HEAD /a", "'HEAD /a': HEAD is planned as GET and has no rule of its own; write GET"),
        (
            "POST api/jobs",
            "'POST api/jobs' is neither a path nor an endpoint's name; did you mean '/api/jobs'?",
        ),
        ("/a/**b", "'/a/**b': ** must be a segment of its own; write /a/** or /a/*"),
    ],
)
def test_a_wrong_pattern_is_explained(match, expected):
    problem = only(f'version = 1\n[[routes]]\nmatch = "{match}"\nlimits = "1/minute"\n')
    assert problem == f"p.toml:3: routes[0].match: {expected}"


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ('default_tier = "slwo"', "default_tier"),
        ('[unmatched]\ntier = "slwo"', "unmatched.tier"),
        ('[[routes]]\nmatch = "/a"\ntier = "slwo"', "routes[0].tier"),
    ],
)
def test_a_tier_that_is_not_there_is_named_with_its_neighbour(head, key):
    text = f'version = 1\n{head}\n[tiers]\nslow = "1/minute"\n'
    line = 1 + len(head.split("\n"))
    assert only(text) == f"p.toml:{line}: {key}: there is no tier 'slwo'; did you mean 'slow'?"


def test_unmatched_has_a_tier_or_limits():
    assert only('version = 1\n[unmatched]\ntier = "cheap"\nlimits = "1/minute"\n') == (
        "p.toml:2: unmatched: [unmatched] has both a tier and limits; give one of them"
    )


def test_a_scope_of_the_tier_needs_a_tier():
    assert "has scope tier and no tier; name a tier" in rule('limits = "1/minute"\nscope = "tier"')


@pytest.mark.parametrize("match", ["/a/<int:x", "/a?x=1", "/a/{id}", "/a/:id", "/a#b"])
def test_a_pattern_of_another_framework_is_refused(match):
    assert "write a parameter as <id> or *" in only(
        f'version = 1\n[[routes]]\nmatch = "{match}"\nlimits = "1/minute"\n'
    )
