"""Which of an application's answers the plugin changed.

What differs between two visits without the plugin (tokens against forgery, moments, addresses) is found by
comparing those two, word by word, and only that is masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

OURS = {
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
}
_WORDS = re.compile(r"[A-Za-z0-9_+/=.-]+|[^A-Za-z0-9_+/=.-]+")
MASK = "\0"
_MOMENTS = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d"  # RFC 9110
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?"  # RFC 3339
    r"|\d\d:\d\d:\d\d(?:[.,]\d+)?"
    r"|(?:\b\d+ (?:sec|min)s?,? ?)* ?\bago\b"  # with no figure: this very second
    r"|(?<![\d.])\d+\.\d{4,}"  # a duration, or seconds since the epoch
)
"""Two visits may fall into one second or minute, and the third not."""

Answer = dict[str, Any]


def words(text: str) -> list[str]:
    return _WORDS.findall(_MOMENTS.sub("(a moment)", text))


def masked(text: str, other: str) -> list[str] | None:
    """The words of `text`, with a mask for each that differs from `other`; None if they do not line up."""
    one, two = words(text), words(other)
    if len(one) != len(two):
        return None
    return [a if a == b else MASK for a, b in zip(one, two, strict=True)]


def same(expected: list[str], found: str) -> bool:
    given = words(found)
    return len(given) == len(expected) and all(a in (MASK, b) for a, b in zip(expected, given, strict=True))


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in answer["headers"] if name.lower() not in OURS)


def label(answer: Answer) -> str:
    return f"{answer['method']} {answer['path']}"


def differences(first: dict[str, Any], second: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """One line for each answer of `found` that is not as in the two visits without the plugin."""
    if first["rules"] != found["rules"]:
        gone = [rule for rule in first["rules"] if rule not in found["rules"]]
        new = [rule for rule in found["rules"] if rule not in first["rules"]]
        yield f"rules: {gone} became {new}"
    moving = {
        one["path"] for one, two in zip(first["answers"], second["answers"], strict=True) if _moves(one, two)
    }
    for one, two, now in zip_longest(first["answers"], second["answers"], found["answers"]):
        if one is None or now is None or label(one) != label(now):
            yield f"asked {now and label(now)} where it was {one and label(one)}"
            return
        yield from _differs(one, two, now, is_steady=one["path"] not in moving)


def _differs(one: Answer, two: Answer, now: Answer, *, is_steady: bool) -> Iterator[str]:
    if "raised" in one or "raised" in now:
        if one.get("raised") != now.get("raised"):
            yield f"{label(now)}: {one.get('raised') or one['status']} → {now.get('raised') or now['status']}"
        return
    if one["status"] != now["status"]:
        yield f"{label(now)}: status {one['status']} → {now['status']}: {now['body'][:300]!r}"
        return
    before, again, after = headers_of(one), headers_of(two), headers_of(now)
    if [name for name, _ in before] != [name for name, _ in after]:
        yield f"{label(now)}: headers {before} → {after}"
    else:
        for (name, old), (_, other), (_, new) in zip(before, again, after, strict=True):
            if name == "Content-Length" and not is_steady:
                continue  # the body is compared
            line_up = masked(old, other)
            if line_up is not None and not same(line_up, new):
                yield f"{label(now)}: {name}: {old} → {new}"
    if (expected := masked(one["body"], two["body"])) is not None and not same(expected, now["body"]):
        yield f"{label(now)}: the body differs{_where(expected, words(now['body']))}"


def _moves(one: Answer, two: Answer) -> bool:
    """Whether the body holds a moment, or anything else that changes between two visits."""
    body = one.get("body", "")
    return body != two.get("body", "") or _MOMENTS.search(body) is not None


def _where(expected: list[str], found: list[str]) -> str:
    for at, (old, new) in enumerate(zip_longest(expected, found)):
        if old not in (MASK, new):
            around = slice(max(0, at - 5), at + 12)
            return f" at {''.join(expected[around])!r} → {''.join(found[around])!r}"
    return ""


def unsteady(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Answers whose bodies do not line up between two visits without the plugin: they prove nothing."""
    return [
        label(one)
        for one, two in zip(first["answers"], second["answers"], strict=True)
        if "body" in one and masked(one["body"], two.get("body", "")) is None
    ]
