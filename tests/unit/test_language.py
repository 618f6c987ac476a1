"""Words that readers stumble on stay out of the texts; beside each is a better one.

CONTRIBUTING.md asks for plain English. This list holds only what has no harmless meaning here.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
BETTER: Final = {
    r"lest": "so that ... not",
    r"anew": "again",
    r"reckon(s|ed|ing)?": "compute, estimate, expect",
    r"n[ao]ught": "zero, nothing",
    r"mend(s|ed|ing)?": "correct, repair",
    r"heed(s|ed|ing)?": "respect, follow",
    r"whoever|whosoever": "anybody who; the code that",
    r"hitherto|heretofore": "until now",
    r"thereof|whereof|hereof": "of it",
    r"thence|whence|forthwith|betimes": "from there; at once; early",
    r"wherein|therein|whereupon|thereupon": "in which; in it; then",
    r"beforehand": "before, first",
    r"albeit": "although",
    r"unto|amongst|whilst": "to, among, while",
    r"for want of": "because ... is missing",
    r"will not have (it|them|any)": "rejected",
    r"(is|are|was|were|be) told of": "receives; is notified about",
    r"(has|have) not the": "does not have, is missing",
    r"put in(to)? words": "describe; serialise",
    r"save for": "except",
    r"be (it|they) (a|an|the|so)": "whether it is",
    r"at (one|its|their)'?s? leisure": "later, in the background",
}
"""A pattern of whole words, and words to use in its place."""

LOG_METHODS: Final = {"debug", "info", "warning", "error", "exception", "critical"}
FRAGMENT: Final = re.compile(r"(Of|What|Who|Whose|Whom|Than|Nor)\b(?!.*\?)", re.IGNORECASE)
"""An opening without a main clause: "Of one.", "What the store holds."; a question may begin with it."""


_CODE_SPAN: Final = re.compile(r"`[^`]*`")
"""Left out of pages: the changelog quotes texts of earlier versions."""


class Text(NamedTuple):
    """A text and the place where it stands."""

    where: str
    words: str


def _files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


CODE: Final = _files(
    "otel_ratelimit/**/*.py", "dashboards/source/**/*.py", "loadtest/*.py", "migrations/**/*.py"
)
PAGES: Final = _files(
    *("*.md", "docs/**/*.md", "docs/**/*.svg", "Makefile", ".ci/*", ".github/**/*.yml", ".github/**/*.md"),
    *("collector/**/*.y*ml", "collector/*.md", "collector/*.sh", "collector/**/*.sql", "dashboards/.lint"),
    *(
        "otel_ratelimit/**/*.sql",
        "otel_ratelimit/**/*.lua",
        "otel_ratelimit/**/*.toml",
        "migrations/sql/*.sql",
    ),
    *("otel_ratelimit/**/*.jinja", "dashboards/source/**/*.sql", "pyproject.toml", "tests/rules/*.yml"),
)


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def _text(path: Path, line: int, words: object) -> Text:
    return Text(f"{path.relative_to(ROOT)}:{line}", str(words))


def _comments(path: Path) -> Iterator[Text]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield _text(path, token.start[0], token.string)


def _strings(path: Path) -> Iterator[Text]:
    """All strings, docstrings included; names in the code are no texts."""
    for node in _nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _text(path, node.lineno, node.value)


def _docstrings(path: Path) -> Iterator[Text]:
    """Docstrings, and the strings below an attribute that document it."""
    for node in _nodes(path):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield _text(path, node.lineno, node.value.value)


def _log_messages(path: Path) -> Iterator[Text]:
    for node in _nodes(path):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in LOG_METHODS and node.args and isinstance(node.args[0], ast.Constant):
            yield _text(path, node.lineno, node.args[0].value)


def _lines(path: Path) -> Iterator[Text]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        yield _text(path, number, _CODE_SPAN.sub("", line) if path.suffix == ".md" else line)


def _better(found: str) -> str:
    return next(better for word, better in BETTER.items() if re.fullmatch(word, found, re.IGNORECASE))


def test_no_text_has_a_word_that_readers_stumble_on():
    stumbling = re.compile(rf"\b({'|'.join(BETTER)})\b", re.IGNORECASE)
    texts = [text for path in CODE for find in (_strings, _comments) for text in find(path)]
    texts += [text for path in PAGES for text in _lines(path)]
    assert len(texts) > 10_000
    found = [(text.where, match[0]) for text in texts for match in stumbling.finditer(text.words)]
    assert not [f"{where}: {word!r}; better: {_better(word)}" for where, word in found]


def test_no_docstring_opens_with_a_fragment():
    texts = [text for path in CODE for text in _docstrings(path)]
    assert len(texts) > 1_000
    assert not [text for text in texts if FRAGMENT.match(text.words.strip())]


def test_no_log_message_opens_with_a_fragment():
    texts = [text for path in CODE for text in _log_messages(path)]
    assert len(texts) > 50
    assert not [text for text in texts if FRAGMENT.match(text.words)]
