"""Every mistake in a policy file is named with file, line and key, all of them at once."""

from __future__ import annotations

import textwrap

import pytest

from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import builtin_policy, load_policy, parse_policy


def problems(text):
    with pytest.raises(PolicyError) as caught:
        parse_policy(textwrap.dedent(text), "p.toml")
    return [str(problem) for problem in caught.value.problems]


def only(text):
    (problem,) = problems(text)
    return problem


def rule(text, head="version = 1\n"):
    return only(f'{head}[[routes]]\nmatch = "/a"\n{text}\n')


def test_all_mistakes_are_reported_in_the_order_of_their_lines():
    found = problems(
        """\
        version = 2
        defalt_tier = "x"
        default_tier = "fast"
        [tiers]
        slow = "ten per minuet"
        [[routes]]
        match = "/a"
        tier = "slwo"
        [[routes]]
        match = "POST /a"
        limits = "5/minute"
        [memory]
        capacity = "lots"
        """
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["p.toml:1", "version"],
        ["p.toml:2", "defalt_tier"],
        ["p.toml:3", "default_tier"],
        ["p.toml:5", "tiers.slow"],
        ["p.toml:8", "routes[0].tier"],
        ["p.toml:10", "routes[1].match"],
        ["p.toml:13", "memory.capacity"],
    ]


def test_an_empty_file_lacks_its_version():
    assert only("") == "p.toml:1: 'version' is missing; write version = 1"


def test_an_unknown_key_is_named_with_its_neighbour():
    assert only("version = 1\nexmpt = []\n") == (
        "p.toml:2: exmpt: unknown key 'exmpt'; did you mean 'exempt'?"
    )
    assert rule('limits = "1/minute"\nstrtegy = "x"') == (
        "p.toml:5: routes[0].strtegy: unknown key 'strtegy'; did you mean 'strategy'?"
    )


@pytest.mark.parametrize(
    "limits",
    [
        "10/minuet",
        "ten per minute",
        "10/minute garbage",
        "garbage 10/minute",
        "10",
        "/minute",
        "",
        ";",
        "10/minute;",
        "-1/minute",
        "1.5/minute",
        "0/minute",
        "10/0 minute",
        "10/minute; 20/minute",
        "10/minute; 20/60 second",
        "99999999999999999999/second",
    ],
)
def test_what_is_not_a_limit_is_refused(limits):
    assert rule(f'limits = "{limits}"').startswith("p.toml:4: routes[0].limits: ")


@pytest.mark.parametrize(
    "limits",
    ["10/minute", "10 per minute", "10 PER 2 Hours", "1/second;2/day", "5/hour, 20/day", "7/month | 9/year"],
)
def test_the_notations_of_limits_are_accepted(limits):
    assert parse_policy(f'version = 1\n[tiers]\ndefault = "{limits}"\n', "p.toml")


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
    ("line", "expected"),
    [
        ('key = "adress"', "'adress' is not a key; use ip, user, ip+user, header:NAME or module:function"),
        ('key = "header:"', "'header:' is not a key"),
        ('key = "header:a b"', "'header:a b' is not a key"),
        ('key = "module.py:f()"', "is not a key"),
        ('strategy = "leaky"', "'leaky' is not known; use 'fixed-window', 'sliding-window-counter' or"),
        ('on_error = "maybe"', "'maybe' is not known; use 'closed' or 'open'"),
        ('scope = "world"', "'world' is not known"),
        ("cost = -1", "-1 is not greater than or equal to 0"),
        ('cost = "1"', "'1' is not a whole number"),
        ("cost = 6", "a cost of 6 is more than 5 per 1 minute ever allows"),
        ('shadow = "9/hour"', "9 per 1 hour is not one of the rule's limits"),
        ('shadow = "soon"', "'soon' is not a limit"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(line, expected):
    problem = rule(f'limits = "5/minute"\n{line}')
    key = line.partition(" ")[0]
    assert problem.startswith(f"p.toml:5: routes[0].{key}: ")
    assert expected in problem


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


def test_memory_thresholds_must_be_in_order():
    assert "out of order" in only('version = 1\n[memory]\nwarning = "60 MB"\n')
    assert "out of order" in only('version = 1\n[memory]\ncapacity = "10 MB"\ncritical = "20 MB"\n')


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('capacity = "50 XB"', "capacity"),
        ("capacity = 0", "capacity"),
        ("capacity = true", "capacity"),
        ("cleanup_interval = 0", "cleanup_interval"),
        ('cleanup_interval = "soon"', "cleanup_interval"),
        ("cleanup_interval = nan", "cleanup_interval"),
    ],
)
def test_sizes_and_durations_are_read_strictly(line, key):
    assert only(f"version = 1\n[memory]\n{line}\n").startswith(f"p.toml:3: memory.{key}: ")


def test_sizes_and_durations_have_units():
    memory = parse_policy(
        'version = 1\n[memory]\ncapacity = "48 MiB"\ncleanup_interval = "2m"\n', "p.toml"
    ).memory
    assert memory.capacity == 48 * 1024 * 1024
    assert memory.critical == memory.capacity
    assert memory.warning == int(memory.capacity * 0.8)
    assert memory.cleanup_interval == 120.0


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


@pytest.mark.parametrize("user", ["session:", "cookie:x y", "a b", "header:", "MODULE"])
def test_a_wrong_place_for_the_user_is_refused(user):
    assert "does not say where the user is found" in only(f'version = 1\n[identity]\nuser = "{user}"\n')


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version = 1\nroutes = [\n", 2),
        ("version = \n", 1),
        ("version = 1\nversion = 1\n", 2),
        ("a = 1\n]\n", 2),
    ],
)
def test_what_is_not_toml_is_named_with_its_line(text, line):
    assert only(text).startswith(f"p.toml:{line}: is not TOML: ")


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


def test_one_mistake_in_a_table_does_not_hide_another():
    found = problems('version = 1\n[tiers]\n"my tier" = "1/minute"\nslow = 5\nfast = "0/minute"\n')
    assert found == [
        "p.toml:3: tiers.'my tier': 'my tier' is not a tier's name; use up to 64 letters, digits, - _ .",
        "p.toml:4: tiers.slow: 5 is not text",
        "p.toml:5: tiers.fast: '0/minute' would refuse every request; use at least 1",
    ]


def test_unmatched_has_a_tier_or_limits():
    assert only('version = 1\n[unmatched]\ntier = "cheap"\nlimits = "1/minute"\n') == (
        "p.toml:2: unmatched: [unmatched] has both a tier and limits; give one of them"
    )


def test_a_scope_of_the_tier_needs_a_tier():
    assert "has scope tier and no tier; name a tier" in rule('limits = "1/minute"\nscope = "tier"')


def test_a_wrong_value_is_shown_short():
    problem = only(f'version = 1\n[tiers]\nslow = "{"x" * 100_000}"\n')
    assert len(problem) < 400


def test_rules_written_as_an_array_have_lines_of_their_own():
    text = """\
        version = 1
        routes = [
            { match = "/a", limits = "1/minute" },
            { match = "/b", limits = "1/minuet" },
        ]
        """
    assert only(text).startswith("p.toml:4: routes[1].limits: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[" * 3000 + "]" * 3000, "p.toml: is nested too deeply; is it the right file?"),
        ("9" * 5000, "p.toml: is not TOML: Exceeds the limit"),
        ("0x" + "f" * 5000, "p.toml:2: x: unknown key 'x'"),
    ],
)
def test_values_beyond_measure_are_no_crash(value, expected):
    assert only(f"version = 1\nx = {value}\n").startswith(expected)


@pytest.mark.parametrize("table", ["routes", "memory", "analytics", "cache", "identity", "clients", "report"])
def test_numbers_beyond_measure_are_refused_in_every_place(table):
    from otel_ratelimit.policy import load

    number = "0x" + "f" * 5000
    for key in load._TABLES[table].known_keys():
        header = f"[[{table}]]" if table in {"routes", "clients"} else f"[{table}]"
        assert problems(f"version = 1\n{header}\n{key} = {number}\n")


def test_tables_of_the_wrong_shape_are_no_crash():
    for text in (
        "version = 1\nroutes = 5\n",
        "version = 1\nroutes = [1, 2]\n",
        "version = 1\ntiers = []\n",
        "version = 1\n[tiers]\na = 5\n",
        "version = 1\nexempt = 'x'\n",
        "version = 1\nexempt = [1]\n",
        "version = 1\nmemory = 1\n",
        "version = 1\n[routes]\nmatch = '/a'\n",
        "version = true\n",
        "version = 1\nunmatched = 3\n",
        "version = 1\n[[clients]]\nmatch = 1\n",
        "version = 1\n[[routes]]\nmatch = '/a'\ntier = ['cheap']\n",
        "version = 1\n[[routes]]\nmatch = '/a'\nlimits = {}\ncost = []\nshadow = 1.5\n",
        "version = 1\n[memory]\ncapacity = 1.5\ncleanup_interval = []\n",
        "version = 1\n[memory]\ncapacity = inf\nwarning = true\n",
        "version = 1\n[memory.capacity]\nx = 1\n",
        "version = 1\n[[exempt]]\nx = 1\n",
        "version = 1\ndefault_tier = []\n",
    ):
        assert problems(text), text


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"version = 1\n# \xe4\n")
    (tmp_path / "huge.toml").write_bytes(b"#" * 1_000_001)
    (tmp_path / "nul.toml").write_bytes(b"version = 1\nx = \x00\n")
    for name, reason in (
        ("nul.toml", r"nul.toml:2: is not TOML: "),
        ("nul\0name.toml", "cannot be read: .*null byte"),
        ("missing.toml", "No such file"),
        (".", "Is a directory"),
        ("latin.toml", "latin.toml:2: is not UTF-8; save the file as UTF-8"),
        ("huge.toml", "huge.toml: is larger than 1000000 bytes"),
    ):
        with pytest.raises(PolicyError, match=reason):
            load_policy(tmp_path / name)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbfversion = 1\n")
    assert load_policy(tmp_path / "p.toml").model_dump() == builtin_policy().model_dump()


@pytest.mark.parametrize("match", ["/a/<int:x", "/a?x=1", "/a/{id}", "/a/:id", "/a#b"])
def test_a_pattern_of_another_framework_is_refused(match):
    assert "write a parameter as <id> or *" in only(
        f'version = 1\n[[routes]]\nmatch = "{match}"\nlimits = "1/minute"\n'
    )


def test_a_moving_window_of_too_many_units_is_refused():
    assert rule('limits = "100001/day"\nstrategy = "moving-window"').startswith(
        "p.toml:5: routes[0].strategy: moving-window keeps a time for each unit"
    )
