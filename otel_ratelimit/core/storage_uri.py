"""Which parts of `OTEL_RATELIMIT_STORAGE_URI` may be shown, and which are secret.

A password that is not percent-encoded can end up in any part that is read from a URI. So a part is shown only
if it has a harmless form: a scheme, hosts with ports, a database or a path.
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
    """The URI without user, password and parameters, fit for a log; in doubt a part is hidden."""
    uri = Secret.of(given).reveal()
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return HIDDEN if uri else ""
    shown = scheme if _SCHEME.fullmatch(scheme) else HIDDEN
    place, asked, parameters = rest.partition("?")
    login, at, host = place.rpartition("@")
    # A password with a question mark, or a parameter: where both are possible, it is hidden.
    if "@" in parameters or not _PLACE.fullmatch(host):
        return f"{shown}://{HIDDEN}"
    return f"{shown}://{HIDDEN + at if login else ''}{host}{'?' + HIDDEN if asked else ''}"


def secrets_in(given: str | Secret) -> Iterator[str]:
    """The secret texts of a storage URI: the URI itself, and its passwords, encoded and decoded."""
    uri = Secret.of(given).reveal()
    if redact_uri(uri) == uri:
        return
    yield uri
    place, _, parameters = uri.partition("://")[2].partition("?")
    user, colon, password = place.rpartition("@")[0].partition(":")
    # Without a colon the password may be in the place of the user.
    yield from (each := password if colon else user, unquote(each))
    for name, value in parse_qsl(parameters):
        if "password" in name.lower():
            yield value
