"""Every mistake in a policy file is named with file, line and key, all of them at once."""

from __future__ import annotations

import textwrap

import pytest

from otel_ratelimit.errors import PolicyError
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
    "match", ["", "GET", "get", "FETCH /a", "GET /a /b", "/a/**b", "POST,FETCH /a", "   "]
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
        ('match = "ip:10.0.0.1/8"', "neither an address nor a CIDR"),
        ('match = "user:bob"\nmultiply = 0', "is not greater than 0"),
        ('match = "user:bob"\nexempt = "yes"', "'yes' is not true or false"),
    ],
)
def test_a_wrong_client_is_refused(table, expected):
    assert expected in only(f"version = 1\n[[clients]]\n{table}\n")


def test_a_client_named_twice_is_refused():
    text = 'version = 1\n[[clients]]\nmatch = "user:bob"\n[[clients]]\nmatch = "user:bob"\n'
    assert only(text).startswith("p.toml:5: clients[1].match: 'user:bob' is there already (p.toml:3)")


@pytest.mark.parametrize("user", ["session:", "cookie:x y", "a b", "header:", "MODULE"])
def test_a_wrong_place_for_the_user_is_refused(user):
    assert "does not say where the user is found" in only(f'version = 1\n[identity]\nuser = "{user}"\n')


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version = 1\nroutes = [\n", 3),
        ("version = \n", 1),
        ("version = 1\nversion = 1\n", 2),
        ("a = 1\n]\n", 2),
    ],
)
def test_what_is_not_toml_is_named_with_its_line(text, line):
    assert only(text).startswith(f"p.toml:{line}: is not TOML: ")


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
    ):
        assert problems(text), text


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"version = 1\n# \xe4\n")
    (tmp_path / "huge.toml").write_bytes(b"#" * 1_000_001)
    for name, reason in (
        ("missing.toml", "No such file"),
        (".", "Is a directory"),
        ("latin.toml", "is not UTF-8"),
        ("huge.toml", "is larger than"),
    ):
        with pytest.raises(PolicyError, match=reason):
            load_policy(tmp_path / name)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbfversion = 1\n")
    assert load_policy(tmp_path / "p.toml") == builtin_policy()
