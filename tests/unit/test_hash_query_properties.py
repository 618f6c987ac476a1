"""Templates of generated, long and hostile statements."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from variants import quick_first

from otel_ratelimit.queries.fingerprint import (
    MAX_READ_CHARACTERS,
    TemplateCache,
    hash_query,
    split_statements,
    without_values,
)
from otel_ratelimit.queries.fingerprint.keywords import RESERVED

HOSTILE = [
    "'" * 50_001,
    "$" * 50_000,
    "$a$" * 15_000,
    "/*" * 25_000,
    "((((" * 12_500,
    "E'" + "\\" * 50_000,
    '"' * 50_001,
    "-" * 50_000,
    "." * 50_000,
    "1" * 50_000,
    "a" * 50_000,
    "%(" * 25_000,
    "SELECT " + "1," * 25_000,
    "IN (" * 7_500,
    "VALUES " + "(1)," * 15_000,
    "é" * 25_000,
    "\0" * 25_000,
]
NESTED = [("", "(", ")"), ("", "[", "]"), ("", "values (", ")"), ("values ", "(1),(values ", ")")]
NESTED += [("", "table ", ""), ("", "table if ", ""), ("in ", "((1),", ")"), ("values (1", "::a[1]", "")]
NESTED += [("", "in (", ")"), ("with ", "a (, ", ""), ("", "%(", ""), ("", "+-", ""), ("=", "+", "")]
HOSTILE += [begin + opening * 20_000 + closing * 20_000 for begin, opening, closing in NESTED]
"""Each takes a fraction of a second; in proportion to the square of its length it would take minutes."""


@pytest.mark.untraced
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", quick_first(HOSTILE, 12), ids=lambda text: text[:6].encode("unicode_escape").decode()
)
def test_no_text_takes_for_ever(text):
    hash_query(text)
    hash_query(text)
    without_values(text)
    split_statements(text)


pieces = st.one_of(
    st.sampled_from(
        ["select", "from", "where", "in", "values", "array", "and", "is", "not", "null", "with", "as", "into"]
    ),
    st.sampled_from(
        ["(", ")", "[", "]", ",", ";", ".", "::", "=", "-", "+", "*", "?", "%s", "%(a)s", "$1", "||"]
    ),
    st.sampled_from(["'a'", "E'\\''", "$$x$$", "$q$'$q$", '"A b"', "--c\n", "/* d */", "'", '"', "$$", "/*"]),
    st.integers(-5, 500).map(str),
    st.text(string.ascii_letters + "_é", min_size=1, max_size=5),
    st.text(max_size=4),
)
texts = st.lists(pieces, max_size=25).flatmap(
    lambda parts: st.sampled_from([" ".join(parts), "".join(parts)])
)


@given(texts)
@example("select -1 - -1")
@example("in(1,(2))")
def test_nothing_raises_and_a_template_is_its_own_template(text):
    found = hash_query(text)
    assert hash_query(found.text).text == found.text
    split_statements(text)


@given(texts)
@example("%s$q$'$q$select'a'")
@example("$$x$$E'\\' 'a'")
@example("select a order by 1, 2 --c\n, 3")
@example("select a from t order by a, 1.5")
@example("select a from t order by 12345")
@example("group by a, (1.5)")
@example("%(a)sE'a\\'b'")
@example("1_E'a\\'b'")
@example("\N{KEY}E'a\\'b'")
@example("b'1' x'ff' u&'a' n'b'")
@example("a.1 1.a 1.5 a1 1e5 .5 5. 0x1F 1_000")
def test_a_text_without_its_values_has_the_same_template(text):
    assert hash_query(without_values(text)) == hash_query(text)


STATEMENT = (
    "select",
    "name",
    ",",
    "count",
    "(",
    "*",
    ")",
    "from",
    "jobs",
    "where",
    "id",
    "=",
    "1",
    "and",
    "x",
    ">=",
    "'a'",
)


@given(st.randoms(use_true_random=False))
def test_white_space_comments_and_case_make_no_difference(chance: random.Random):
    between = [" ", "\n", "\t ", " /* a */ ", " -- b\n", "/*c*/"]
    text = "".join(
        (part.upper() if part[0] != "'" and chance.random() < 0.5 else part) + chance.choice(between)
        for part in STATEMENT
    )
    assert hash_query(text) == hash_query(" ".join(STATEMENT))


LITERAL = st.one_of(
    st.integers(0, 10**12).map(str),
    st.integers(1, 99).map("-{}".format),
    st.decimals(0, 1000, places=3).map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(
        lambda text: "'" + text.replace("'", "''") + "'"
    ),
    st.sampled_from(["%s", "%(name)s", "$1", "NULL", "TRUE", "X'1F'", "$q$a'b$q$", r"E'\'x'", "1e9", ".5"]),
)
NAME = st.from_regex(r"[a-z_][a-z0-9_$]{0,10}é?", fullmatch=True).filter(lambda name: name not in RESERVED)


@given(LITERAL, LITERAL, st.lists(LITERAL, min_size=1, max_size=5))
def test_other_literals_make_no_other_template(one, other, several):
    text = "SELECT a FROM t WHERE b = {} AND c IN ({}) AND f(x, {}) LIMIT {}"
    assert hash_query(text.format(one, ", ".join(several), other, one)) == hash_query(text.format(*"1234"))


@given(NAME, NAME)
def test_another_name_makes_another_template(one, other):
    text = "SELECT a.{0}, count(*) FROM t AS a WHERE a.{0} = 1 GROUP BY a.{0}"
    is_same = hash_query(text.format(one)).hash == hash_query(text.format(other)).hash
    assert is_same == (one == other)


def test_a_cache_answers_as_without_and_stays_within_its_bounds():
    cache = TemplateCache(capacity=50, capacity_characters=2_000)
    for number in range(500):
        text = f"SELECT c{number % 70} FROM t WHERE x = {number} AND y = 'v{number}'"
        assert cache(text) == hash_query(text)
        assert len(cache) <= 50
    huge = "SELECT " + "1, " * 50_000 + "1"
    assert cache(huge) == hash_query(huge)
    assert len(cache) <= 50


BULK = [
    "INSERT INTO t (a, b) VALUES {} ON CONFLICT DO NOTHING",
    "SELECT a FROM t WHERE b IN ({})",
    "SELECT a FROM t WHERE b = ANY(ARRAY[{}])",
    "SELECT a FROM t WHERE (a, b) IN ({}) AND c = 1",
]


@pytest.mark.untraced
@pytest.mark.parametrize("text", BULK)
def test_bulks_of_any_length_and_values_are_one_template(text):
    draw = random.Random(text)
    row = "({}, '{}')" if "(a, b)" in text else "{}"
    found = set()
    for _ in range(30):
        values = ", ".join(
            row.format(draw.randrange(10 ** draw.randrange(1, 9)), "x'';" * draw.randrange(9))
            for _ in range(draw.randrange(3_000, 5_000))
        )
        found.add(hash_query(text.format(values)).text)
    assert len(found) == 1
    # The text after the list is read as well.
    assert found == {hash_query(text.format("(1, 'a')" if "(a, b)" in text else "1")).text}


def test_a_long_text_of_several_is_taken_apart_in_the_same_places():
    one = "UPDATE t SET a = 'x;''y', b = E'\\';', c = $q$;$q$ WHERE \"d;\" = 1 -- ;\n"
    text = ";".join([one] * 500)
    assert len(text) > MAX_READ_CHARACTERS
    assert split_statements(text) == (*[one.strip()] * 500,)
    assert split_statements(one) == (one.strip(),)


def test_statements_are_taken_apart_where_postgresql_does():
    text = "SELECT 1; SELECT ';'; /* ; */ SELECT $$;$$ -- ;\n; SELECT (1); ;"
    assert [part.split()[-1] for part in split_statements("SELECT 1;SELECT 2")] == ["1", "2"]
    assert len(split_statements(text)) == 4
    body = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END"
    assert len(split_statements(f"{body}; SELECT 2")) == 2
    assert split_statements(" ; -- nothing\n") == ()
