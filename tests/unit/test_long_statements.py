"""Long texts are read to their end, in steps that grow with the length, and refused where that is unsure."""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
from collections.abc import Iterator
from re import _constants, _parser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import otel_ratelimit.queries.capture_psycopg2
import otel_ratelimit.queries.fingerprint
from otel_ratelimit.queries.fingerprint import (
    MAX_READ_CHARACTERS,
    TemplateCache,
    hash_query,
    lexer,
    long_texts,
    split_statements,
)
from otel_ratelimit.queries.fingerprint.lexer import is_certain, marks, tokens
from otel_ratelimit.queries.records import UNREADABLE

PLANTED = "plantedvalue"
IDS = ", ".join(map(str, range(3_000)))
LONG = "x" * MAX_READ_CHARACTERS


# The text after a list is part of the template.

TAILS = [
    "",
    " AND deleted = false",
    " AND deleted IS NULL",
    " FOR UPDATE",
    " FOR SHARE SKIP LOCKED",
    " ORDER BY id LIMIT 10",
    " UNION SELECT id FROM other",
    " AND kind IN ('a', 'b')",
]
LISTS = {
    "numbers": ("1, 2", IDS),
    "negative numbers": ("-1, 2", ", ".join(str(-n) for n in range(3_000))),
    "placeholders": ("%s, %s", ", ".join(["%s"] * 6_000)),
    "SQLAlchemy's placeholders": (
        "%(id_1_1)s, %(id_1_2)s",
        ", ".join(f"%(id_1_{n})s" for n in range(1, 1_201)),
    ),
    "strings": ("'a'", ", ".join(f"'it''s {n}'" for n in range(2_000))),
    "strings with backslashes": ("'a'", ", ".join(f"E'\\'{n}'" for n in range(2_000))),
    "dates": ("'a'", ", ".join(f"'2026-01-01'::date{n % 2 * ' '}" for n in range(2_000))),
    "of all kinds": ("1", ", ".join(["1", "NULL", "'a'", "-2.5e3", "true", "E'\\\\'"] * 1_000)),
    "on lines": ("1", " ,\n  ".join(map(str, range(3_000)))),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("short", "long"), LISTS.values(), ids=LISTS)
def test_what_stands_behind_a_long_list_counts(short, long, tail):
    found = hash_query(f"SELECT a FROM t WHERE id IN ({long}){tail}")
    assert len(long) > MAX_READ_CHARACTERS - 100
    assert found == hash_query(f"SELECT a FROM t WHERE id IN ({short}){tail}")
    assert found.is_write == (" FOR " in tail)


def test_each_end_of_a_long_list_is_another_template():
    assert len({hash_query(f"SELECT a FROM t WHERE id IN ({IDS}){tail}").hash for tail in TAILS}) == len(
        TAILS
    )


ROWS = {
    "values": "({n}, '{n}', NULL)",
    "SQLAlchemy's placeholders": "(%(a__{n})s, %(b__{n})s::JSONB, %(c__{n})s)",
    "calls": "({n}, now(), nextval('s'))",
    "arrays": "({n}, ARRAY[{n}, 2], ARRAY['a', 'b']::text[])",
    "defaults": "(DEFAULT, {n}, ({n} + 1))",
}
CONFLICTS = ["", " ON CONFLICT DO NOTHING", " ON CONFLICT (a) DO UPDATE SET b = excluded.b", " RETURNING id"]


@pytest.mark.parametrize("tail", CONFLICTS)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_an_upsert_of_many_rows_is_no_plain_insert(row, tail):
    def insert(rows: int) -> str:
        return f"INSERT INTO t (a, b, c) VALUES {', '.join(row.format(n=n) for n in range(rows))}{tail}"

    assert len(insert(2_000)) > MAX_READ_CHARACTERS
    assert hash_query(insert(2_000)) == hash_query(insert(2))
    assert len({hash_query(insert(2_000).removesuffix(tail) + other).hash for other in CONFLICTS}) == 4


MANY = range(6_000)
CHAINS = {
    "OR": " OR ".join(f"id = {n}" for n in MANY),
    "OR of AND": " OR ".join(f"(id = {n} AND name = 'x{n}')" for n in MANY),
    "OR of BETWEEN": " OR ".join(f"id BETWEEN {n} AND {n + 1}" for n in MANY),
    "AND": " AND ".join(f"id <> {n}" for n in MANY),
    "CASE": "CASE id " + " ".join(f"WHEN {n} THEN 'v{n}'" for n in MANY) + " END = 'v1'",
    "CASE of conditions": "CASE "
    + " ".join(f"WHEN (t.id = {n}) THEN {n}" for n in MANY)
    + " ELSE NULL END = 1",
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_what_stands_behind_a_long_chain_counts(chain):
    ends = ["", " LIMIT 1", " FOR UPDATE", " FOR UPDATE OF t", " UNION SELECT 1", " GROUP BY id"]
    more = [f"SELECT id FROM t WHERE ({chain}) AND {other} = 5" for other in ("owner", "tenant")]
    found = [hash_query(text) for text in (*[f"SELECT id FROM t WHERE {chain}{end}" for end in ends], *more)]
    assert len({each.hash for each in found}) == len(found)
    assert [each.is_write for each in found] == [False, False, True, True, False, False, False, False]


def test_what_a_long_statement_with_a_chain_writes_is_read():
    found = hash_query(f"WITH x AS (SELECT id FROM other WHERE {CHAINS['OR']}) UPDATE jobs SET a = 1 FROM x")
    assert (found.operation, found.written) == ("update", (("jobs", "update"),))
    updates = [
        f"UPDATE jobs SET a = CASE id {' '.join(f'WHEN {n} THEN 1' for n in MANY)} END{end}"
        for end in (" WHERE tenant = 1", ", b = now() WHERE kind = 'x'")
    ]
    assert hash_query(updates[0]) != hash_query(updates[1])


def test_what_is_no_list_is_read_up_to_a_limit_and_what_may_write_is_searched_for_behind_it():
    unlike = " OR ".join(f"(a{n} = {n} AND b = 'x')" for n in range(8_000))
    plain = hash_query(f"SELECT a FROM t WHERE {unlike} LIMIT 1")
    assert plain.text.endswith("…")
    assert not plain.is_write
    assert not plain.volatile
    assert hash_query(f"SELECT a FROM t WHERE {unlike} FOR UPDATE").is_write
    assert hash_query(f"SELECT a FROM t WHERE {unlike} AND pg_advisory_lock(1)").is_write
    assert hash_query(f"SELECT a FROM t WHERE {unlike} AND c > NOW()").volatile


def test_only_lists_of_values_are_shortened():
    calls = ", ".join(f"f({n})" for n in range(4_000))
    columns = ", ".join(f"c{n}" for n in range(4_000))
    assert hash_query(f"SELECT {columns} FROM t").text.startswith("select c0, c1, c2, c3")
    assert hash_query(f"SELECT {calls} FROM t").text.startswith("select f(?), f(?), f(?)")


VALUES = st.one_of(
    st.integers(-10, 10**9).map(str),
    st.text("ab'\\;$-/*\n é", max_size=6).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.text("ab\n é", max_size=6).map(lambda text: f"E'\\'{text}'"),
    st.sampled_from(
        ["NULL", "TRUE", "%s", "%(a_1)s", "$1", ".5", "1e9", "'a'::text", "$$;'$$", "ARRAY[1,2]"]
    ),
)


@settings(max_examples=25)
@given(st.lists(VALUES, min_size=1, max_size=8), st.sampled_from([", ", ",", " ,\n"]), st.data())
def test_a_long_list_of_any_values_is_read_as_a_short_one(values, comma, data):
    count = data.draw(st.integers(MAX_READ_CHARACTERS, MAX_READ_CHARACTERS + 3), label="elements")
    many = comma.join((values * (count // len(values) + 1))[:count])
    for text in (
        "SELECT a FROM t WHERE b IN ({}) AND c",
        "SELECT a FROM t WHERE b = ANY(ARRAY[{}]) FOR SHARE",
    ):
        assert hash_query(text.format(many)) == hash_query(text.format(values[0]))


# Steps.


class Counted:
    """A pattern that counts its steps, and the characters that they take."""

    def __init__(self, pattern: re.Pattern[str], counts: list[int]) -> None:
        self._pattern = pattern
        self._counts = counts

    def match(self, text: str, position: int = 0) -> re.Match[str] | None:
        return self._seen(self._pattern.match(text, position))

    def search(self, text: str, position: int = 0) -> re.Match[str] | None:
        return self._seen(self._pattern.search(text, position))

    def finditer(self, text: str, position: int = 0) -> Iterator[re.Match[str]]:
        for found in self._pattern.finditer(text, position):
            self._seen(found)
            yield found

    def _seen(self, found: re.Match[str] | None) -> re.Match[str] | None:
        self._counts[0] += 1
        self._counts[1] += 0 if found is None else found.end() - found.start()
        return found


def steps(monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[int, int]:
    """Steps of all patterns over `text`, and the characters that they took."""
    counts = [0, 0]
    with monkeypatch.context() as patch:
        for name, pattern in list(vars(lexer).items()):
            if isinstance(pattern, re.Pattern):
                patch.setattr(lexer, name, Counted(pattern, counts))
        compiled = long_texts._compiled
        patch.setattr(long_texts, "_compiled", lambda pattern: Counted(compiled(pattern), counts))
        hash_query(text)
        split_statements(text)
        TemplateCache()(text)
    return counts[0], counts[1]


SHAPES = {
    "a comment in a comment": ("/* report /* v2 */ don't cache */ select length('", "x;y", "')"),
    "comments that are not ended": ("select 1 ", "/* ", ""),
    "comments": ("select 1 ", "/* a */ ", ""),
    "strings": ("select ", "'a;b', ", "1"),
    "quotes": ("select ", "'", ""),
    "strings that go on": ("select 'a'", "\nE'a'", ""),
    "backslashes": ("select E'", "\\", ""),
    "dollars": ("select ", "$a$ ", ""),
    "dollars of other names": ("select ", "$a$b$ ", ""),
    "numbers": ("select a from t where b in (", "1, ", "1) for update"),
    "rows": ("insert into t values (1, 'a')", ", (1, 'a')", " on conflict do nothing"),
    "unlike rows": ("insert into t values (1, 'a')", ", (1, now()), (f(), 'a')", " on conflict do nothing"),
    "statements": ("select 1", "; select 'a;b'", ""),
    "parentheses": ("select ", "(", "1"),
    "lists in lists": ("select a in ", "((1, 2), ", "1"),
    "names": ("select a", " a.b", ""),
}


@pytest.mark.parametrize(("begin", "middle", "end"), SHAPES.values(), ids=SHAPES)
def test_the_steps_grow_as_the_text_does(begin, middle, end, monkeypatch):
    length = 20_000
    short = begin + middle * (length // len(middle)) + end
    long = begin + middle * (4 * length // len(middle)) + end
    (steps_short, taken_short), (steps_long, taken_long) = steps(monkeypatch, short), steps(monkeypatch, long)
    # In proportion to the square it would be sixteen times as many.
    assert 0 < steps_long <= 6 * steps_short + 200
    # Every pass takes each character once, and there are few.
    assert taken_short <= 8 * len(short)
    assert taken_long <= 8 * len(long)


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Every compiled pattern that looks at statements."""
    for package in (otel_ratelimit.queries.fingerprint, otel_ratelimit.queries.capture_psycopg2):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.name.removeprefix('otel_ratelimit.')}.{name}", value
    rows = ["(1, '2'::date, ARRAY[1], f(-3))", "NULL", "(a, b.c)"]
    for row in rows:
        pattern = long_texts._pattern(list(tokens(row)))
        assert pattern is not None
        yield f"rows like {row}", long_texts._compiled(pattern)


def faults(parsed: object) -> Iterator[str]:
    """Repetitions that may give back what they have taken, or keep what a failed turn took."""
    if isinstance(parsed, _parser.SubPattern):
        for operation, value in parsed:
            if operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
                if value[1] == _constants.MAXREPEAT:
                    yield f"{operation}: make it possessive"
            elif operation is _constants.POSSESSIVE_REPEAT and not _keeps_nothing(value[2]):
                yield f"{operation}: add a last branch (?!), for Python 3.11.0 to 3.11.4"
            yield from faults(value)
    elif isinstance(parsed, list | tuple):
        for part in parsed:
            yield from faults(part)


def _keeps_nothing(body: _parser.SubPattern) -> bool:
    """Whether nothing in `body` can fail behind a repetition, or a branch that takes nothing comes last."""
    parts = list(body)
    if len(parts) == 1 and parts[0][0] is _constants.SUBPATTERN:
        return _keeps_nothing(parts[0][1][3])
    if len(parts) == 1 and parts[0][0] is _constants.BRANCH:
        branches = parts[0][1][1]
        last = list(branches[-1])
        is_guarded = len(last) == 1 and last[0][0] in (_constants.ASSERT_NOT, _constants.FAILURE)
        return is_guarded or all(_keeps_nothing(branch) for branch in branches)
    repeats = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT, _constants.BRANCH)
    looks = (_constants.ASSERT, _constants.ASSERT_NOT)
    return all(operation not in repeats for operation, _ in parts[:-1]) and all(
        operation not in looks for operation, _ in parts[1:]
    )


@pytest.mark.parametrize(
    ("name", "pattern"), list(patterns()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_pattern_gives_back_what_it_has_taken(name, pattern):
    assert list(faults(_parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG))) == []


def test_such_patterns_would_be_found():
    for wrong in (r"a+b", r"(?:ab?+c)++", r"(?:=|%(?!s))++", r"(?:a|b*?c)*+", r"/\*.*?\*/"):
        assert list(faults(_parser.parse(wrong))) != [], wrong
    for right in (r"a++b", r"(?:ab?+c|(?!))++", r"(?:[^']++|'')*+"):
        assert list(faults(_parser.parse(right))) == [], right


# Where it is not certain how the server reads a text, nothing of it is kept.

UNSURE = [
    f"SELECT 'a; SELECT {PLANTED}",
    f"SELECT 1 /* a /* b */ ; SELECT {PLANTED}",
    f"SELECT $a$ ; SELECT {PLANTED} $b$",
    f"SELECT E'a\\'; SELECT {PLANTED}",
    f"SELECT E'a'\n'b\\'; SELECT {PLANTED}",
    f'SELECT "a; SELECT {PLANTED}',
    f"SELECT \\ ; SELECT {PLANTED}",
    f"SELECT $ ; SELECT {PLANTED}",
    f"SELECT %(')s {PLANTED}",
]


@pytest.mark.parametrize("filler", ["", f"'{LONG}', "], ids=["short", "long"])
@pytest.mark.parametrize("text", UNSURE)
def test_a_text_that_no_server_can_have_read_like_this_is_refused(text, filler):
    text = text.replace("SELECT ", f"SELECT {filler}", 1)
    assert split_statements(text) is None
    assert TemplateCache()(text) == UNREADABLE


def test_a_long_text_with_a_comment_in_a_comment_is_one_statement_and_its_value_is_not_kept():
    text = f"/* report /* v2 */ don't cache */ select length('{'a;' * 10_000}{PLANTED};{PLANTED}')"
    assert split_statements(text) == (text,)
    assert TemplateCache()(text).text == "select length(?)"


def test_a_long_text_in_which_semicolons_end_nothing_is_refused():
    rule = f"CREATE RULE r AS ON INSERT TO t DO (SELECT '{LONG}'; SELECT 1)"
    body = f"CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT '{LONG}'; END"
    assert split_statements(rule) is None
    assert split_statements(body) is None
    assert split_statements(f"SELECT '{LONG} atomic'; SELECT 1") is None
    assert split_statements(f"SELECT '{LONG} atomically'; SELECT 1") == (
        f"SELECT '{LONG} atomically'",
        "SELECT 1",
    )


pieces = st.one_of(
    st.sampled_from(["select", "e", "E", "a$b", "$1", "1", "1.5e3", "%s", "%(a)s", "?", "é", "x_1"]),
    st.sampled_from(
        ["'a'", "'a''b'", "E'\\''", "E'a\\\\'", "$$;$$", "$q$'$q$", '"A;b"', "U&'x'", "N'a'", "x'1f'"]
    ),
    st.sampled_from(
        ["--c;\n", "/* ; */", "/* /* ' */ */", "\n", " ", ";", "(", ")", "[", "]", ",", "-", "/", "*"]
    ),
    st.sampled_from(["'", '"', "$$", "/*", "*/", "\\", "$", "E'", "$a$", "--", "'\\'"]),
)


@given(st.lists(pieces, max_size=20).map("".join))
@example("E'a'\n'\\''")
@example("'a'--\n'b;'")
@example("1e'\\'")
@example("$1$a$;$a$")
@example("a$b$;$b$")
@example("U&';'")
@example("1.5e3$$;$$")
@example("\N{ARABIC-INDIC DIGIT THREE}$$;$$")
@example("0x1F$$;$$ 1_000e'\\'")
@example("%s$a$%(a)s")
@example("%(a)s$a$;$a$")
@example("%%s$a$;$a$")
@example("%%%s$a$;$a$")
@example("%sé$a$;$a$")
def test_marks_are_those_tokens_that_are_marks(text):
    expected = [(token.text, token.start) for token in tokens(text) if token.text in tuple(";()[]")]
    if is_certain(text):
        assert list(marks(text)) == expected


def test_a_long_text_is_taken_apart_like_a_short_one():
    draw = random.Random(17)
    statements = [
        "SELECT 'a;b'",
        "UPDATE t SET a = E'\\';' -- ;",
        'SELECT $q$;$q$, "d;"',
        "/* ; /* */ */ SELECT 1",
    ]
    for _ in range(50):
        chosen = [draw.choice(statements) for _ in range(draw.randrange(1, 8))]
        text = "\n;\n".join(chosen)
        short = split_statements(text)
        assert short is not None
        long = split_statements(f"{text}\n; SELECT '{LONG}'")
        assert long == (*short, f"SELECT '{LONG}'")
