"""Every mistake in a policy file is named with file, line and key, all of them at once."""

from __future__ import annotations

import pytest
from policy_problems import only, problems, rule

from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import builtin_policy, load_policy, parse_policy


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


def test_one_mistake_in_a_table_does_not_hide_another():
    found = problems('version = 1\n[tiers]\n"my tier" = "1/minute"\nslow = 5\nfast = "0/minute"\n')
    assert found == [
        "p.toml:3: tiers.'my tier': 'my tier' is not a tier's name; use up to 64 letters, digits, - _ .",
        "p.toml:4: tiers.slow: 5 is not text",
        "p.toml:5: tiers.fast: '0/minute' would refuse every request; use at least 1",
    ]


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


def test_a_moving_window_of_too_many_units_is_refused():
    assert rule('limits = "100001/day"\nstrategy = "moving-window"').startswith(
        "p.toml:5: routes[0].strategy: moving-window keeps a time for each unit"
    )
