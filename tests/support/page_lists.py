"""Reads the lists of reference pages, whose items say what a table's row would say in one long line."""

from __future__ import annotations

import re


def list_items(text: str) -> list[str]:
    """Each item of the lists at the margin, as one line without its dash."""
    without_code = re.sub(r"^( *)```.*?\n\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^- (.+(?:\n {2}.+)*)", without_code, flags=re.MULTILINE)
    return [" ".join(item.split()) for item in found]


def listed_names(text: str) -> list[str]:
    """The text in backquotes at the beginning of each item: a variable, a command, a metric."""
    found = (re.match(r"`([^`]+)`", item) for item in list_items(text))
    return [match[1] for match in found if match]
