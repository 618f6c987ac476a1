"""Which routes a rule matches: `[METHOD[,METHOD]] path` with wildcards, or the name of an endpoint.

A path is compared with the template of a route, not with what clients send: `*` stands for one segment or
part of one, `**` for any number of segments or none, and `<x>` for a parameter with any name and converter. A
slash at the end makes no difference. The name of an endpoint has no leading slash; `*` in it stands for any
text.
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
"""Characters of URLs and of other frameworks' templates that a template of Flask does not have."""
_PARAMETER: Final = re.compile(r"<[^<>]*>")
_ANY: Final = "*"
_ANY_DEPTH: Final = "**"


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """A parsed `match`. `methods` is empty if the pattern is for all methods."""

    text: str
    methods: frozenset[str]
    segments: tuple[str, ...] | None
    """The segments of a path; None for the name of an endpoint."""
    endpoint: str = ""

    @classmethod
    def parse(cls, text: str) -> RoutePattern:
        """Read a pattern.

        Raises:
            InvalidValueError: `text` is not a pattern.
        """
        words = text.split()
        if len(words) not in {1, 2}:
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
        """Whether the pattern matches this endpoint and method; HEAD is treated as GET."""
        return self.matches_method(method) and self.matches_endpoint(endpoint, route)

    def matches_method(self, method: str) -> bool:
        """Whether the pattern matches this method; HEAD is treated as GET."""
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)

    def matches_endpoint(self, endpoint: str, route: str) -> bool:
        """Whether the pattern matches this endpoint with some method."""
        if self.segments is None:
            return _text_matches(self.endpoint, endpoint)
        return _path_matches(self.segments, _segments(route))

    @property
    def canonical(self) -> str:
        """One spelling for all equal patterns: methods in order, without HEAD, which is treated as GET."""
        methods = ",".join(sorted(self.methods - {"HEAD"}))
        return f"{methods} {self.target}" if methods else self.target

    @property
    def target(self) -> str:
        """The path or the name of the endpoint, in one spelling."""
        return self.endpoint if self.segments is None else _joined(self.segments)

    def covers(self, other: RoutePattern) -> bool:
        """Whether this pattern matches everything that `other` matches. Sound, but not complete."""
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
    """The template of a route in one spelling: without names and converters of parameters and final slash."""
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
    # Only an asterisk in `mine` can match one in `theirs`, and then it covers everything that one stands for.
    return _text_matches(mine[0], theirs[0]) and _path_covers(mine[1:], theirs[1:])
