"""The header in which the operator's proxies write the client's address, and how it is read.

    X-Forwarded-For    a list; each proxy appends the address that it saw
    Forwarded          the same as `for=` of each element (RFC 7239)
    any other name     one address, which the outermost proxy writes: CF-Connecting-IP, X-Real-IP ...

Only this header is read. A proxy writes one header and passes on all others as the client sent them, so any
other header is the client's own claim.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from otel_ratelimit.core.errors import Problem

VARIABLE: Final = "OTEL_RATELIMIT_PROXY_HEADER"
DEFAULT_NAME: Final = "X-Forwarded-For"

MAX_HOPS: Final = 32
"""How many entries are read from the right; longer chains of proxies do not occur."""
_MAX_CHARACTERS: Final = 64 * MAX_HOPS

_LISTS: Final = (DEFAULT_NAME, "X-Vercel-Forwarded-For")
_SINGLE: Final = (
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "True-Client-IP",
    "X-Real-IP",
    "Fly-Client-IP",
    "Fastly-Client-IP",
    "DO-Connecting-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Envoy-External-Address",
    "X-Nf-Client-Connection-IP",
    "X-AppEngine-User-IP",
)
_FORWARDED: Final = "Forwarded"
_KNOWN: Final = {name.lower(): name for name in (*_LISTS, _FORWARDED, *_SINGLE)}
_WITHOUT_CLIENT: Final = re.compile(
    r"x-forwarded-(host|proto|protocol|port|prefix|by|server|ssl|scheme|uri|path)|host|via|origin|referer"
    r"|user-agent|authorization|cookie|content-.*|accept.*|cf-ipcountry|cf-ray|remote-addr"
    r"|x-original-forwarded-for|cloudfront-viewer-address"
)
"""Headers that hold no address, or what the client sent, or a port that looks like a part of IPv6."""
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")
"""A field name (RFC 9110) without underscores, which servers drop or treat as hyphens."""
_CLOSE: Final = 0.85

_PAIR: Final = re.compile(r'\s*([\w!#$%&*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))\s*', re.DOTALL)
_ELEMENT: Final = re.compile(rf"(?:{_PAIR.pattern})(?:;(?:{_PAIR.pattern})?)*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The name of a header, and how it is read."""

    name: str = DEFAULT_NAME
    form: Literal["list", "forwarded", "single"] = "list"

    @classmethod
    def parse(cls, given: str) -> ProxyHeader | Problem:
        """The header with that name, in upper or lower case; a problem if the name is wrong."""
        lowered = given.strip().lower()
        name = _KNOWN.get(lowered, given.strip())
        if lowered not in _KNOWN:
            problem = _problem_with(name)
            if problem is not None:
                return problem
        if name == _FORWARDED:
            return cls(name, "forwarded")
        return cls(name, "list" if lowered.endswith("-forwarded-for") else "single")

    def entries(self, value: str) -> Iterator[str]:
        """The entries of `value` from the nearest hop on, at most `MAX_HOPS`.

        If a header with a single address comes more than once, the last one is used: a proxy that adds the
        header instead of replacing it adds it behind the client's.
        """
        if self.form == "single":
            return iter((value[-_MAX_CHARACTERS:].rpartition(",")[2],))
        if self.form == "forwarded":
            return _forwarded_entries(value)
        return _entries(value)


X_FORWARDED_FOR: Final = ProxyHeader()


def _problem_with(name: str) -> Problem | None:
    lowered = name.lower()
    meant = re.sub(r"^http-", "", lowered.replace("_", "-").rstrip(": "))
    if meant in _KNOWN:
        return Problem(VARIABLE, f"{name!r} is not how the header is written", f"write {_KNOWN[meant]}")
    if "," in name or " " in name:
        return Problem(
            VARIABLE,
            f"{name!r} names more than one header",
            "name the one that your proxies write; the client can write all others",
        )
    if not _NAME.fullmatch(name):
        what = f"{name!r} is not the name of a header"
        return Problem(VARIABLE, what, f"write for instance {DEFAULT_NAME}")
    if _WITHOUT_CLIENT.fullmatch(lowered):
        return Problem(
            VARIABLE,
            f"{name!r} does not hold the client's address alone",
            f"write {DEFAULT_NAME}, {_FORWARDED} or a header with one address, such as {_SINGLE[0]}",
        )
    close = difflib.get_close_matches(lowered, _KNOWN, n=1, cutoff=_CLOSE)
    if close:
        return Problem(VARIABLE, f"{name!r} is not a known header", f"did you mean {_KNOWN[close[0]]}?")
    return None


def _entries(header: str) -> Iterator[str]:
    """The entries of X-Forwarded-For from right to left, at most `MAX_HOPS`."""
    return islice(reversed(_whole_entries(header, header[-_MAX_CHARACTERS:].split(","))), MAX_HOPS)


def _forwarded_entries(header: str) -> Iterator[str]:
    """The `for` of each element of Forwarded from right to left; empty where an element has none."""
    entries = _split_outside_quotes(header[-_MAX_CHARACTERS:])
    return map(_for_of, islice(reversed(_whole_entries(header, entries)), MAX_HOPS))


def _whole_entries(header: str, entries: list[str]) -> list[str]:
    """The entries without the one that was cut, which could be read as another address."""
    return entries if len(header) <= _MAX_CHARACTERS else entries[1:]


def _for_of(element: str) -> str:
    """The value of the only `for` of a well-formed element; empty otherwise."""
    if _ELEMENT.fullmatch(element) is None:
        return ""
    pairs = [pair.groups() for pair in _PAIR.finditer(element)]
    values = [(quoted, token) for name, quoted, token in pairs if name.lower() == "for"]
    if len(values) != 1:
        return ""
    quoted, token = values[0]
    return token if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


def _split_outside_quotes(header: str) -> list[str]:
    """The elements of a header from left to right, split from right to left.

    Otherwise a client could open a quotation mark without closing it, and so hide what the proxies to its
    right have written.
    """
    elements, end, quoted = [], len(header), False
    for index in range(len(header) - 1, -1, -1):
        character = header[index]
        if character == '"' and not _escaped(header, index):
            quoted = not quoted
        elif character == "," and not quoted:
            elements.append(header[index + 1 : end])
            end = index
    elements.append(header[:end])
    return elements[::-1]


def _escaped(text: str, index: int) -> bool:
    before = text[:index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
