"""Differences between two visits are found, and those that only the time makes are ignored."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def compare():
    spec = importlib.util.spec_from_file_location("crawl_compare", Path(__file__).with_name("compare.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "later",
    [
        'title="1 sec ago">12:00:01<',
        'title="59 secs ago">12:00:59<',
        'title="1 min, 3 secs ago">12:01:03<',
        'title="2 mins ago">12:02:00.5<',
    ],
)
def test_how_long_ago_something_was_is_no_difference_also_in_its_first_second(compare, later):
    assert compare.words('title=" ago">12:00:00<') == compare.words(later)


@pytest.mark.parametrize("later", ["title=agog", "2 apples", "Chicago in a sec"])
def test_other_words_are_kept(compare, later):
    assert "".join(compare.words(later)) == later
