"""What may be seen of `OTEL_RATELIMIT_STORAGE_URI`, and what in it must not be.

A password that is not percent-encoded can end up in any part of what is read from a URI. So only what has the
form of something harmless is shown: a scheme, hosts with ports, a database or a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote

from otel_ratelimit.core.secret import HIDDEN, Secret

_SCHEME: Final = re.compile(r"[a-z][a-z0-9]{0,19}([+-][a-z0-9]{1,19})?")
_HOST: Final = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]*)(:[0-9]{1,5})?"
_PLACE: Final = re.compile(rf"{_HOST}(,{_HOST})*(/[A-Za-z0-9_./-]*)?")


def storage_uri(given: str | Secret) -> Secret:
    """A storage URI as a secret that shows where the store is."""
    uri = Secret.of(given)
    return Secret(uri.reveal(), redact_uri(uri))


def redact_uri(given: str | Secret) -> str:
    """The URI without user, password and parameters, fit for a log; rather too little than a secret."""
    uri = Secret.of(given).reveal()
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return HIDDEN if uri else ""
    shown = scheme if _SCHEME.fullmatch(scheme) else HIDDEN
    place, asked, parameters = rest.partition("?")
    login, at, host = place.rpartition("@")
    # A password with a question mark, or a parameter: which of them cannot be told where both are possible.
    if "@" in parameters or not _PLACE.fullmatch(host):
        return f"{shown}://{HIDDEN}"
    return f"{shown}://{HIDDEN + at if login else ''}{host}{'?' + HIDDEN if asked else ''}"


def secrets_in(given: str | Secret) -> Iterator[str]:
    """What of a storage URI nobody must see: the URI itself, and its passwords as written and as meant."""
    uri = Secret.of(given).reveal()
    if redact_uri(uri) == uri:
        return
    yield uri
    place, _, parameters = uri.partition("://")[2].partition("?")
    user, colon, password = place.rpartition("@")[0].partition(":")
    # Without a colon the password may have been written where the user belongs.
    yield from (each := password if colon else user, unquote(each))
    for name, value in parse_qsl(parameters):
        if "password" in name.lower():
            yield value
