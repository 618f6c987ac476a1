"""Reads a TOML file as a `Policy`, or reports every problem in it with file, line and key."""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from otel_ratelimit.core.errors import PolicyError, Problem
from otel_ratelimit.policy.cache import Cache, CachePrice
from otel_ratelimit.policy.cross_checks import find_contradictions
from otel_ratelimit.policy.invalid_value import InvalidValueError, nearest, shown
from otel_ratelimit.policy.model import (
    Analytics,
    ClientRule,
    IdentityTable,
    Memory,
    Policy,
    Responses,
    RouteRule,
    Unmatched,
)
from otel_ratelimit.policy.report import Report
from otel_ratelimit.policy.toml_lines import TomlLines
from otel_ratelimit.policy.toml_table import TomlTable

MAX_FILE_BYTES: Final = 1_000_000
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

_TABLES: Final[dict[str, type[TomlTable]]] = {
    "routes": RouteRule,
    "clients": ClientRule,
    "unmatched": Unmatched,
    "identity": IdentityTable,
    "memory": Memory,
    "analytics": Analytics,
    "cache": Cache,
    "cache.prices": CachePrice,
    "report": Report,
    "responses": Responses,
}


def builtin_policy() -> Policy:
    """The policy that holds without a policy file."""
    return Policy(version=1)


def load_policy(path: Path | str) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: the file cannot be read or is not valid; with every problem.
    """
    return parse_policy(read_policy(Path(path)), str(path))


def read_policy(path: Path) -> str:
    """The file's text.

    Raises:
        PolicyError: the file is missing, too large, or not text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        # A ValueError means that the name contains NUL.
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        raise PolicyError(
            [
                Problem(
                    str(path), f"cannot be read: {reason}", "name a policy file that exists and may be read"
                )
            ]
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise PolicyError(
            [Problem(str(path), f"is larger than {MAX_FILE_BYTES} bytes", "is it the right file?")]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError([Problem(f"{path}:{line}", "is not UTF-8", "save the file as UTF-8")]) from error


def parse_policy(text: str, filename: str) -> Policy:
    """Read a policy from `text`; `filename` is for messages.

    Raises:
        PolicyError: the policy is not valid; with every problem.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([_syntax_problem(filename, text, error)]) from error
    except (RecursionError, ValueError) as error:
        # Thousands of brackets or digits: tomllib raises no error of its own for these, and names no line.
        what = "is nested too deeply" if isinstance(error, RecursionError) else f"is not TOML: {error}"
        raise PolicyError([Problem(filename, what, "is it the right file?")]) from error
    lines = TomlLines(text)
    policy, problems = _validate(data)
    problems += [
        (finding.path, _with_other(finding.what, finding.other, filename, lines), finding.instead)
        for finding in find_contradictions(data)
    ]
    if policy is None or problems:
        found = {
            Problem(_where(filename, lines, path), what, instead): lines.of(path)
            for path, what, instead in problems
        }
        raise PolicyError(sorted(found, key=lambda problem: found[problem]))
    policy.set_origins(dict(_origins(data, filename, lines)))
    return policy


_WANTED: Final = {
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}
"""Words of the policy file for the types in pydantic's errors."""
_EXAMPLES: Final = {
    "version": "write version = 1",
    "name": 'write for instance name = "our own"',
    "kind": 'write for instance kind = "self-hosted"',
}
"""Examples for required keys."""

_Located: typing.TypeAlias = tuple[tuple[str | int, ...], str, str]


def _validate(data: dict[str, Any]) -> tuple[Policy | None, list[_Located]]:
    try:
        return Policy.model_validate(data), []
    except ValidationError as error:
        # A value that may have two types is reported once for each; the last report says most.
        found = {_path_in(details["loc"], data): _explain(details, data) for details in error.errors()}
        return None, list(found.values())


def _explain(details: ErrorDetails, data: dict[str, Any]) -> _Located:
    path = _path_in(details["loc"], data)
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InvalidValueError):
        return path, cause.what, cause.instead
    value = details["input"]
    kind = details["type"]
    if kind == "extra_forbidden":
        return path, f"unknown key {shown(path[-1])}", nearest(str(path[-1]), _known_keys(path))
    if kind == "missing":
        return path[:-1], f"{path[-1]!r} is missing", _EXAMPLES.get(str(path[-1]), "")
    if kind == "literal_error":
        return path, f"{shown(value)} is not known", f"use {details['ctx']['expected']}"
    wanted = _WANTED.get(kind, details["msg"].removeprefix("Input should be "))
    return path, f"{shown(value)} is not {wanted}", ""


def _path_in(location: Sequence[str | int], data: dict[str, Any]) -> tuple[str | int, ...]:
    """Pydantic's location as a place in the file, without what pydantic adds for unions and keys."""
    path: list[str | int] = []
    node: Any = data
    for index, part in enumerate(location):
        inside = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if inside:
            node = node[part]
        elif index < len(location) - 1 or not isinstance(node, dict):
            break
        path.append(part)
    return tuple(path)


def _known_keys(path: Sequence[str | int]) -> Iterator[str]:
    table = ".".join(part for part in path[:-1] if isinstance(part, str))
    return iter(_TABLES.get(table, Policy).known_keys())


def _with_other(what: str, other: Sequence[str | int], filename: str, lines: TomlLines) -> str:
    # A built-in default has no line.
    if not other or other == ("exempt",):
        return what
    return f"{what} ({filename}:{lines.of(other)})"


def _origins(data: dict[str, Any], filename: str, lines: TomlLines) -> Iterator[tuple[str, str]]:
    short = Path(filename).name
    for path in _paths(data):
        place = dotted(path)
        yield place, f"{place} ({short}:{lines.of(path)})"


def _paths(node: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in the file: each key, and each entry of a list."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for part, value in inside:
        path = (*above, part)
        yield path
        yield from _paths(value, path)


def _where(filename: str, lines: TomlLines, path: Sequence[str | int]) -> str:
    return f"{filename}:{lines.of(path)}" + (f": {dotted(path)}" if path else "")


def dotted(path: Sequence[str | int]) -> str:
    """A place in the file as messages write it: `routes[2].match`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else shown(part))
    return text


def _syntax_problem(filename: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    message = str(error)
    line = max(1, len(text.splitlines()))
    if "(at line " in message:
        message, _, position = message.rpartition(" (at line ")
        line = int(position.partition(",")[0])
    else:
        message = message.removesuffix(" (at end of document)")
    return Problem(f"{filename}:{line}", f"is not TOML: {message}")
