"""Which routes a rule speaks of: `[METHOD[,METHOD]] path` with wildcards, or an endpoint's name.

A path is held against a route's template, not against what clients send: `*` stands for a segment or
part of one, `**` for any number of segments, none included, and `<x>` for a parameter whatever its name and
converter. A slash at the end makes no difference. An endpoint's name has no leading slash; `*` in it
stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from otel_ratelimit.policy.invalid_value import InvalidValueError, nearest, shown

METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)
_FOREIGN: Final = re.compile(r"[<>{}?#]|^:")
"""What other frameworks, or URLs, write where a template has something else."""
_PARAMETER: Final = re.compile(r"<[^<>]*>")
_ANY: Final = "*"
_ANY_DEPTH: Final = "**"


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """A parsed `match`. `methods` is empty for all of them."""

    text: str
    methods: frozenset[str]
    segments: tuple[str, ...] | None
    """Of a path; None for an endpoint's name."""
    endpoint: str = ""

    @classmethod
    def parse(cls, text: str) -> RoutePattern:
        """Read a pattern.

        Raises:
            InvalidValueError: it is not one.
        """
        words = text.split()
        if not words or len(words) > 2:  # noqa: PLR2004 - methods and path
            raise InvalidValueError(
                f"{shown(text)} is not a pattern", 'write for instance "POST /api/ai/*" or "jobs.create"'
            )
        methods = _methods(words[0], text) if len(words) > 1 else frozenset()
        target = words[-1]
        if len(words) == 1 and target.upper() in METHODS:
            raise InvalidValueError(
                f"{shown(text)} names a method and no path", f'write for instance "{target.upper()} /**"'
            )
        if not target.startswith("/"):
            if "/" in target:
                raise InvalidValueError(
                    f"{shown(text)} is neither a path nor an endpoint's name", f"did you mean '/{target}'?"
                )
            return cls(text, methods, None, target)
        segments = _segments(target)
        for segment in segments:
            foreign = _FOREIGN.search(segment.replace("<>", ""))
            if foreign:
                raise InvalidValueError(
                    f"{shown(text)}: no route's template has {foreign[0]!r}", "write a parameter as <id> or *"
                )
            if _ANY_DEPTH in segment and segment != _ANY_DEPTH:
                raise InvalidValueError(
                    f"{shown(text)}: ** must be a segment of its own", "write /a/** or /a/*"
                )
        return cls(text, methods, segments)

    def matches(self, endpoint: str, method: str, route: str) -> bool:
        """Whether it speaks of this endpoint and method; HEAD goes with GET."""
        return self.takes(method) and self.speaks_of(endpoint, route)

    def takes(self, method: str) -> bool:
        """Whether it speaks of this method; HEAD goes with GET."""
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def speaks_of(self, endpoint: str, route: str) -> bool:
        """Whether it speaks of this endpoint, methods aside."""
        if self.segments is None:
            return _text_matches(self.endpoint, endpoint)
        return _path_matches(self.segments, _segments(route))

    @property
    def canonical(self) -> str:
        """One spelling for all that say the same: methods in order, without HEAD, which goes with GET."""
        methods = ",".join(sorted(self.methods - {"HEAD"}))
        return f"{methods} {self.target}" if methods else self.target

    @property
    def target(self) -> str:
        """The path or endpoint's name in one spelling."""
        return self.endpoint if self.segments is None else _joined(self.segments)

    def covers(self, other: RoutePattern) -> bool:
        """Whether all that `other` matches is matched by this one. Sound, not complete."""
        if self.methods and not (other.methods and other.methods <= self.methods):
            return False
        if self.segments == (_ANY_DEPTH,):
            return True
        if self.segments is None or other.segments is None:
            both_endpoints = self.segments is None and other.segments is None
            return both_endpoints and _text_matches(self.endpoint, other.endpoint)
        return _path_covers(self.segments, other.segments)


def _methods(text: str, whole: str) -> frozenset[str]:
    methods = frozenset(method.upper() for method in text.split(","))
    for method in sorted(methods - METHODS):
        raise InvalidValueError(f"{shown(whole)}: {shown(method)} is not a method", nearest(method, METHODS))
    if "HEAD" in methods and "GET" not in methods:
        raise InvalidValueError(
            f"{shown(whole)}: HEAD is planned as GET and has no rule of its own", "write GET"
        )
    return methods


def _segments(path: str) -> tuple[str, ...]:
    return tuple(_PARAMETER.sub("<>", path).strip("/").split("/")) if path.strip("/") else ()


def canonical_path(path: str) -> str:
    """A route's template in one spelling: no names and converters of parameters, no slash at the end."""
    return _joined(_segments(path))


def _joined(segments: Sequence[str]) -> str:
    pairs = zip(segments, (None, *segments), strict=False)
    return "/" + "/".join(each for each, before in pairs if not each == before == _ANY_DEPTH)


def _path_matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == _ANY_DEPTH:
        return _path_matches(pattern[1:], path) or (bool(path) and _path_matches(pattern, path[1:]))
    return bool(path) and _text_matches(pattern[0], path[0]) and _path_matches(pattern[1:], path[1:])


def _text_matches(pattern: str, text: str) -> bool:
    if _ANY not in pattern:
        return pattern == text
    return re.fullmatch(".*".join(map(re.escape, pattern.split(_ANY))), text, re.DOTALL) is not None


def _path_covers(mine: Sequence[str], theirs: Sequence[str]) -> bool:
    if not mine:
        return not theirs
    if mine[0] == _ANY_DEPTH:
        return _path_covers(mine[1:], theirs) or (bool(theirs) and _path_covers(mine, theirs[1:]))
    if not theirs or theirs[0] == _ANY_DEPTH:
        return False
    # An asterisk in theirs can only be met by one of mine, which then covers all it stands for.
    return _text_matches(mine[0], theirs[0]) and _path_covers(mine[1:], theirs[1:])
