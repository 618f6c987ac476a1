"""The parts of `shared-memory://name?capacity=100MB`, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.storage.memory_budget import parse_capacity, parse_interval
from otel_ratelimit.storage.zone.lock import LockKind, is_supported

SCHEME: Final = "shared-memory"
_WHERE: Final = f"storage {SCHEME}"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KNOWN: Final = ("capacity", "cleanup_interval", "lock")
_LOCKS: Final[Mapping[str, LockKind]] = {"mutex": "mutex", "file": "file"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ZoneUri:
    """A valid URI. `None` means: not given."""

    name: str
    """Empty for the zone that the processes of one server share."""
    capacity: int | None = None
    cleanup_interval: float | None = None
    lock: LockKind | None = None


def parse_uri(uri: str, options: Mapping[str, object] | None = None) -> ZoneUri:
    """The parts of a URI; options that are passed beside it count as if they were part of it.

    Raises:
        SettingsError: with every problem.
    """
    problems: list[Problem] = []
    given = _options(uri, options or {}, problems)
    parsed = ZoneUri(
        _name(uri, problems),
        _read(given.get("capacity"), parse_capacity, "capacity", problems),
        _read(given.get("cleanup_interval"), parse_interval, "cleanup_interval", problems),
        _read(given.get("lock"), _lock, "lock", problems),
    )
    if problems:
        raise SettingsError(problems)
    return parsed


def uri_problems(uri: str) -> list[Problem]:
    """The problems of a URI; empty if it is valid."""
    try:
        parse_uri(uri)
    except SettingsError as error:
        return list(error.problems)
    return []


def _options(uri: str, options: Mapping[str, object], problems: list[Problem]) -> dict[str, str | float]:
    try:
        query = urlsplit(uri).query
    except ValueError:  # `_name` reports it
        query = uri.partition("?")[2]
    pairs = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in pairs] + list(options)
    for name in dict.fromkeys(names):
        if name not in _KNOWN:
            known = f"known are {', '.join(_KNOWN[:-1])} and {_KNOWN[-1]}"
            problems.append(Problem(_WHERE, f"unknown option {name!r}", known))
        elif names.count(name) > 1:
            problems.append(Problem(_WHERE, f"option {name!r} is given more than once", "give it once"))
    given = {
        name: value for name, value in (*pairs, *options.items()) if name in _KNOWN and value is not None
    }
    return {name: value if isinstance(value, int | float) else str(value) for name, value in given.items()}


def _name(uri: str, problems: list[Problem]) -> str:
    place = uri.partition("://")[2].partition("?")[0]
    name = place.removesuffix("/")
    if name and not _NAME.fullmatch(name):
        problems.append(
            Problem(
                _WHERE,
                f"{name!r} is no name of a zone",
                "use up to 64 letters, digits, dots, hyphens and underscores, first a letter or digit:"
                f" {SCHEME}://shop?capacity=100MB",
            )
        )
    return name


def _read(
    value: str | float | None, parse: Callable[[str | float, str], T], name: str, problems: list[Problem]
) -> T | None:
    if value is None:
        return None
    try:
        return parse(value, f"{_WHERE}: {name}")
    except SettingsError as error:
        problems += error.problems
        return None


def _lock(value: str | float, where: str) -> LockKind:
    kind = _LOCKS.get(str(value))
    if kind is None:
        raise SettingsError([Problem(where, f"{value!r} is no kind of lock", "write mutex or file")])
    if kind == "mutex" and not is_supported():
        raise SettingsError([Problem(where, "this platform has no robust mutexes", "write file")])
    return kind
