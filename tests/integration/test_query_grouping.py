"""Templates group statements as PostgreSQL's query ids do, on SQL that this project did not write.

The corpus is PostgreSQL's own regression tests, fetched by tests/corpus/fetch.py: 40,000 statements, of which
22,000 have a parse tree. What differs on purpose is in tests/corpus/differences.py, rule by rule; with counts
by tests/corpus/report.py.
"""

from __future__ import annotations

import importlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from components import MissingError
from folders import quick_folder

from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.queries.fingerprint import hash_query

CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.fixture(scope="module")
def corpus():
    """The modules of tests/corpus."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CORPUS)
        names = ("fetch", "executed", "differences", "agreement", "long_statements")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})


@pytest.fixture(scope="module")
def comparisons(corpus, debian_binaries, installed):
    files = corpus.fetch.CORPUS / "postgresql"
    installed("psql", "postgresql-client")
    if not files.exists():
        raise MissingError("the SQL of PostgreSQL's regression tests", "make corpus")
    with workspace(quick_folder()) as scratch:
        suites = {**corpus.executed.regression(files), "long": [corpus.long_statements.write(scratch)]}
        found = corpus.executed.executed(files, suites, debian_binaries, scratch)
    return {name: corpus.agreement.compare(statements) for name, statements in found.items()}


@pytest.fixture(scope="module")
def comparison(comparisons):
    return comparisons["regression"]


@pytest.mark.untraced
@pytest.mark.timeout(600)
def test_statements_are_grouped_as_postgresql_groups_them(comparison):
    assert comparison.statements > 20_000, str(comparison)
    assert comparison.agreement(-1) >= 0.999, str(comparison)
    # To put two queries together is worse than to keep one apart.
    assert comparison.steps[-1].merged <= 0.0003 * comparison.statements, str(comparison)


def test_long_statements_are_grouped_as_postgresql_groups_them(comparisons):
    long = comparisons["long"]
    assert long.statements > 250, str(long)
    assert long.agreement(-1) >= 0.999, str(long)
    assert long.steps[-1].merged == 0, str(long)


def test_each_rule_excuses_some_and_none_accuses(comparison):
    left = [step.either for step in comparison.steps]
    assert left == sorted(left, reverse=True)
    without_effect = {
        step.rule
        for step, before in zip(comparison.steps[1:], comparison.steps, strict=False)
        if (step.merged, step.split) == (before.merged, before.split)
    }
    assert without_effect == set()


def test_a_wrong_merge_and_a_wrong_split_are_found(corpus):
    executed = [
        corpus.differences.Executed(text, query_id, "1")
        for text, query_id in [
            ("SELECT a FROM t WHERE b = 1", 1),
            ("SELECT a FROM t WHERE b = 2", 2),
            ("SELECT a FROM t", 3),
            ("SELECT b + 1 FROM t", 3),
            ("SELECT c FROM t", 4),
            ("CREATE TABLE t (a int)", 5),
        ]
    ]
    found = corpus.agreement.compare(executed)
    assert (found.statements, found.steps[0].merged, found.steps[0].split) == (5, 2, 2)
    assert (found.steps[-1].merged, found.steps[-1].split) == (2, 2)


def test_what_templates_leave_out_and_what_the_parser_leaves_out_is_excused(corpus):
    executed = [
        corpus.differences.Executed(text, query_id, "1")
        for text, query_id in [
            ("SELECT a FROM t WHERE b IN (1)", 1),
            ("SELECT a FROM t WHERE b IN (1, 2)", 2),
            ("SELECT c FROM t AS x", 3),
            ("SELECT x.c AS label FROM t x", 3),
        ]
    ]
    found = corpus.agreement.compare(executed)
    assert found.steps[0].either == 4
    assert found.steps[-1].either == 0


@pytest.mark.parametrize("server", ["postgres", "debian_postgres"])
def test_a_name_keeps_the_quotes_without_which_it_means_something_else(server, request):
    with closing(psycopg2.connect(request.getfixturevalue(server).dsn())) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT word FROM pg_get_keywords() WHERE catcode <> 'U'")
        words = [word for (word,) in cursor.fetchall()]
    assert len(words) > 100
    assert [word for word in words if f'"{word}"' not in hash_query(f'SELECT "{word}" FROM t').text] == []
