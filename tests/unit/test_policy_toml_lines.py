"""The line of a key, in every way that TOML has of writing one."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ratelimit.policy.toml_lines import TomlLines


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\r\nb = [\r\n1,\r\n2]\r\nc = 3\r\n", ("c",), 5),
        ("a = 'x\u2028y\u0085z'\nb = 1", ("b",), 2),
        ("# one\u2028two\nb = 1", ("b",), 2),
        ("[a]\nb.c.d = 1\nb.e = 2", ("a", "b", "e"), 3),
        ("[a]\nb.c.d = 1", ("a", "b", "c"), 2),
        ("\n[a.b.c]\nx = 1", ("a",), 2),
        ("[[a]]\n[[a.b]]\n[[a.b]]\n[[a]]\n[[a.b]]\nx = 1", ("a", 1, "b", 0, "x"), 6),
        ("[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 2", ("a", 1, "b", "x"), 6),
        ('["a b".\'c.d\'."e\\"f"]\nx = 1', ("a b", "c.d", 'e"f', "x"), 2),
        ('"\\u0061" = 1\nb = 2', ("a",), 1),
        ('\n["x]#y"]\nz = 1', ("x]#y", "z"), 3),
        ('\n"a = b" = 1', ("a = b",), 2),
        ("a = [\n  [1,\n   2],\n  [3],\n]", ("a", 1), 4),
        ("a = [\n  [1,\n   2],\n  [3],\n]", ("a", 0, 1), 3),
        ('a = [ { b = 1 },\n{ c = "}" , d.e = [\n1 ] } ]\n', ("a", 1, "d", "e", 0), 3),
        ('a = """\nb = 1\n"""\nb = 2', ("b",), 4),
        ('a = """x\\\n  ""y\\""""\nb = 2', ("b",), 3),
        ("a = '''\n[b]\\'''\nb = 2", ("b",), 3),
        ('a = """"""\nb = ""\nc = \'\'\nd = 1', ("d",), 4),
        ('a = """""x"""""\nb = 1', ("b",), 2),
        ("a = 1979-05-27 07:32:00 # x = 1\nb = 2", ("b",), 2),
        ("  a  .  b = 1\n\t[ c . d ]  # [e]\nx = 1", ("c", "d", "x"), 3),
        ("a = [ # [\n  1, # ]\n  2\n]\nb = 1", ("b",), 5),
        ("a = 1", ("missing", 3, "x"), 1),
        ("\n[a]\nb = 1", ("a", "missing"), 2),
    ],
)
def test_the_line_of_a_key(text, path, line):
    tomllib.loads(text)
    assert TomlLines(text).of(path) == line


# JSON writes these as TOML does.
NAMES = st.text(
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x7f"),
    min_size=1,
    max_size=4,
) | st.sampled_from(["a", "b-1", "a.b", "=", "#", "[x]"])
TEXTS = st.sampled_from(
    [
        '"x"',
        "'#'",
        '"]"',
        '"}"',
        '"\\""',
        "'\\'",
        '"""\n[a]\nb = 1\n"""',
        "'''\n\n'''",
        '"""a\\\n"""',
        '"\u2028"',
    ]
)
SCALARS = st.sampled_from(["1", "-0.5", "true", "nan", "1979-05-27 07:32:00", "0xff"]) | TEXTS
GAPS = st.sampled_from(["", " ", "\n", " # ] = , [\n", "\n\n\t"])


@st.composite
def values(draw, depth=2):
    """A value and the offsets of the lines at which the things in it begin."""
    if depth == 0 or draw(st.booleans()):
        return draw(SCALARS), {}
    if draw(st.booleans()):
        text, places = "[", {}
        for index in range(draw(st.integers(0, 3))):
            inner, deeper = draw(values(depth=depth - 1))
            text += draw(GAPS)
            start = text.count("\n")
            places[index,] = start
            places |= {(index, *path): start + offset for path, offset in deeper.items()}
            text += inner + draw(GAPS) + ","
        return text + draw(GAPS) + "]", places
    text, places = "{", {}
    for number, name in enumerate(draw(st.lists(NAMES, unique=True, max_size=3))):
        inner, deeper = draw(values(depth=depth - 1))
        text += (", " if number else " ") + f"{json.dumps(name)} = "
        start = text.count("\n")
        places[name,] = start
        places |= {(name, *path): start + offset for path, offset in deeper.items()}
        text += inner
    return text + " }", places


@st.composite
def documents(draw):
    text, places = "", {}
    for table in ((), ("table",), ("rows", 0), ("rows", 1), ("rows", 1, "in.ner")):
        text += draw(st.sampled_from(["", "\n", "# [no] = 1\n"]))
        header = ".".join(json.dumps(part) for part in table if isinstance(part, str))
        if table:
            places[table] = text.count("\n") + 1
            text += f"[[{header}]]\n" if isinstance(table[-1], int) else f"[{header}]\n"
        for name in draw(
            st.lists(
                NAMES.filter(lambda name: name not in {"table", "rows", "in.ner"}), unique=True, max_size=3
            )
        ):
            value, deeper = draw(values())
            start = text.count("\n") + 1
            places[*table, name] = start
            places |= {(*table, name, *path): start + offset for path, offset in deeper.items()}
            text += f"{json.dumps(name)} = {value}\n"
    return text, places


@pytest.mark.untraced
@given(documents(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_everything_in_a_generated_document_is_found_on_its_line(document, windows):
    text, places = document
    if windows:
        text = text.replace("\n", "\r\n")
    tomllib.loads(text)
    lines = TomlLines(text)
    assert {path: lines.of(path) for path in places} == places


@given(
    st.text(alphabet="ab=.[]{}\"'#,\\ \n1", max_size=40),
    st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=3),
)
@settings(max_examples=1000)
def test_no_text_makes_it_raise_or_leave_the_file(text, path):
    assert 1 <= TomlLines(text).of(path) <= text.count("\n") + 1


def test_an_array_of_many_lines_is_walked_once():
    # One look at each line, not one for each pair of them: that would take minutes.
    text = "a = [\n" + '  "/some/path/or/other",\n' * 30_000 + "]\nb = 1\n"
    assert TomlLines(text).of(("b",)) == 30_003
    assert TomlLines(text).of(("a", 29_999)) == 30_001


def test_what_tomllib_can_nest_can_be_walked():
    text = "a = " + "[\n" * 250 + "]" * 250
    tomllib.loads(text)
    assert TomlLines(text).of(("a", *[0] * 249)) == 250
