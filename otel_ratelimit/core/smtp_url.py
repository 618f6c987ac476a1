"""Reads `OTEL_RATELIMIT_SMTP_URL` strictly: the mail server, its encryption, and the login.

The URL holds a password, and a password that is not percent-encoded can end up in any part that is read from
the URL. So messages show the name and value of an option, if these are plain words, and nothing else of the
URL.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.secret import HIDDEN, NO_SECRET, Secret

VARIABLE: Final = "OTEL_RATELIMIT_SMTP_URL"

_EXAMPLE: Final = "write smtp://user:password@host:587 (STARTTLS), or smtps://user:password@host:465"
_ENCODE: Final = "with % / ? # @ : [ and spaces in a user or password as %25 %2F %3F %23 %40 %3A %5B %20"
_PORTS: Final = {"smtp": 587, "smtps": 465}
"""Submission, in clear at first and with TLS from the start (RFC 6409; RFC 8314, section 3.3)."""
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LAST_PORT: Final = 65_535
_OPTIONS: Final = ("ca", "starttls")
_HALF_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PLAIN: Final = re.compile(r"[a-z_-]{0,20}")
_UNSEEN: Final = re.compile(r"[\x00-\x20\x7f]")


class Tls(StrEnum):
    """When the conversation with the server is encrypted."""

    FROM_THE_START = "from the start"
    REQUIRED = "required"
    """By STARTTLS, before anything else is sent; without it nothing is sent."""
    IF_OFFERED = "if-offered"
    NEVER = "never"


_STARTTLS: Final = {tls.value: tls for tls in (Tls.REQUIRED, Tls.IF_OFFERED, Tls.NEVER)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """A mail server; its repr and its text do not show the password."""

    host: str
    port: int
    tls: Tls = Tls.REQUIRED
    user: str = ""
    """Empty: no login."""
    password: Secret = NO_SECRET
    ca_file: Path | None = None
    """PEM file of the certificates to trust in place of the system's."""

    def __post_init__(self) -> None:
        """Wrap a password that was given as plain text."""
        object.__setattr__(self, "password", Secret.of(self.password))

    @classmethod
    def parse(cls, url: str | Secret) -> SmtpServer:
        """Read `smtp[s]://[user:password@]host[:port][?starttls=required|if-offered|never][&ca=FILE]`.

        Raises:
            SettingsError: the message has everything that is wrong, and not the password.
        """
        url = Secret.of(url)
        problems = list(smtp_url_problems(url))
        if problems:
            raise SettingsError(problems)
        return cls._of(urlsplit(url.reveal()))

    @classmethod
    def _of(cls, parts: SplitResult) -> SmtpServer:
        user, _, password = _userinfo(parts).partition(":")
        options = dict(_options(parts))
        return cls(
            host=parts.hostname or "",
            port=int(_port(parts) or _PORTS[parts.scheme]),
            tls=_tls(parts),
            user=unquote(user),
            password=Secret(unquote(password)),
            ca_file=Path(options["ca"]) if "ca" in options else None,
        )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether messages to it stay on this machine."""
        return _is_loopback(self.host)


def smtp_url_problems(url: str | Secret) -> Iterator[Problem]:
    """The problems of `url`; none where `SmtpServer.parse` accepts it."""
    parts = _split(Secret.of(url).reveal())
    if parts is None:
        yield Problem(VARIABLE, "cannot be understood", f"{_EXAMPLE}, {_ENCODE}")
    else:
        yield from (*_of_the_place(parts), *_of_the_login(parts), *_of_the_options(parts))


def _split(url: str) -> SplitResult | None:
    """The parts of the URL; None where one of them may hold something that belongs to another."""
    if _UNSEEN.search(url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:  # its message shows the URL
        return None
    beyond_the_host = f"{parts.path}{parts.query}{parts.fragment}"
    return None if "@" in beyond_the_host or parts.scheme not in _PORTS else parts


def _of_the_place(parts: SplitResult) -> Iterator[Problem]:
    if not parts.hostname:
        yield Problem(VARIABLE, "names no host", _EXAMPLE)
    elif not _is_host(parts.hostname):
        yield Problem(VARIABLE, "the host is neither a name nor an address", _EXAMPLE)
    port = _port(parts)
    if port and not (_PORT.fullmatch(port) and 0 < int(port) <= _LAST_PORT):
        yield Problem(VARIABLE, f"the port is not a number from 1 to {_LAST_PORT}", _EXAMPLE)
    if parts.path not in {"", "/"} or parts.fragment:
        yield Problem(VARIABLE, "there is something after the host and the port", f"{_EXAMPLE}, {_ENCODE}")


def _of_the_login(parts: SplitResult) -> Iterator[Problem]:
    userinfo = _userinfo(parts)
    if not userinfo:
        return
    user, _, password = userinfo.partition(":")
    if not user or not password:
        missing = "password" if user else "user"
        yield Problem(VARIABLE, f"a login without a {missing}", "write user:password@, or neither of them")
    if _HALF_ENCODED.search(userinfo):
        yield Problem(VARIABLE, "a % in the login is not followed by two hexadecimal digits", "write %25")
    elif _cannot_be_sent(userinfo):
        yield Problem(
            VARIABLE,
            "the login holds a character that no login can",
            f"is it percent-encoded UTF-8, {_ENCODE}?",
        )
    if _tls(parts) is Tls.NEVER and parts.hostname and not _is_loopback(parts.hostname):
        yield Problem(
            VARIABLE,
            "with starttls=never the password would cross the network in clear",
            "take starttls=never away, or the login; only to a loopback address are both possible",
        )


def _of_the_options(parts: SplitResult) -> Iterator[Problem]:
    given = list(_options(parts))
    for name in dict.fromkeys(name for name, _ in given):
        if name not in _OPTIONS:
            close = difflib.get_close_matches(name, _OPTIONS, n=1)
            right = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_OPTIONS)}"
            yield Problem(VARIABLE, f"unknown option {_plain(name)}", right)
        elif [other for other, _ in given].count(name) > 1:
            yield Problem(VARIABLE, f"the option {name!r} is there twice", "keep one of them")
    options = dict(given)
    starttls, ca = options.get("starttls"), options.get("ca")
    if starttls is not None and parts.scheme == "smtps":
        yield Problem(
            VARIABLE,
            "smtps:// has TLS from the start, and no STARTTLS",
            "take starttls away, or write smtp://",
        )
    elif starttls is not None and starttls not in _STARTTLS:
        yield Problem(VARIABLE, f"starttls={_plain(starttls)} is not known", f"use {', '.join(_STARTTLS)}")
    if ca is not None and (not ca or "\0" in ca):
        yield Problem(VARIABLE, "ca names no file", "write for instance ?ca=/etc/ssl/our-ca.pem")
    elif ca is not None and _tls(parts) is Tls.NEVER:
        yield Problem(VARIABLE, "with starttls=never no certificate is looked at", "take ca or starttls away")


def _userinfo(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[0]


def _port(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]


def _options(parts: SplitResult) -> Iterator[tuple[str, str]]:
    for option in filter(None, parts.query.split("&")):
        name, _, value = option.partition("=")
        yield unquote(name), unquote(value)


def _plain(word: str) -> str:
    return repr(word) if _PLAIN.fullmatch(word) else HIDDEN


def _tls(parts: SplitResult) -> Tls:
    if parts.scheme == "smtps":
        return Tls.FROM_THE_START
    return _STARTTLS.get(dict(_options(parts)).get("starttls", ""), Tls.REQUIRED)


def _cannot_be_sent(userinfo: str) -> bool:
    """Whether it is not UTF-8, or holds the NUL that separates user and password (RFC 4616)."""
    try:
        decoded = unquote(userinfo, errors="strict")
    except UnicodeDecodeError:
        return True
    return "\0" in decoded


def _is_host(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return "%" not in host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
