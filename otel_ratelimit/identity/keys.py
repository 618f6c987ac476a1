"""From a request to an `Identity`: whom the counters count.

A key is `KIND_LETTERS` and two keyed BLAKE2b hashes (RFC 7693) over kind and parts, each with its length
before it, so that no two different clients can be written alike, and nothing a client sends changes a key's
size: 24 bits of the client's network (see `networks`), 104 bits of the client. A verified user is the same
client in every network, so he is a network of his own. The value of a header or of a function is one client
in every network as well, but the sender may choose it: there his network stands beside the key (`ClientKey`).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, Protocol

from otel_ratelimit.events import KIND_LETTERS, NETWORK_DIGITS, ClientKey, Identity, KeyKind, KeySpec
from otel_ratelimit.identity.addresses import client_address, parse_address, prefix_of
from otel_ratelimit.identity.networks import coarse_network
from otel_ratelimit.identity.proxies import VARIABLE, TrustedProxies, private

_log = logging.getLogger(__name__)

_NETWORK_BYTES: Final = NETWORK_DIGITS // 2
_CLIENT_BYTES: Final = 16 - _NETWORK_BYTES
_KEY_BASE: Final = 32
"""Letters of kinds and hexadecimal digits are all digits of this base."""
_CACHED_CHARACTERS: Final = 256
"""Longer values are not remembered, so that the cache's size has a bound in bytes too."""
_CACHED_PEERS: Final = 256
"""Proxies are few; this is for the servers that are met directly as well."""
_HASH_KEY_MOST_BYTES: Final = 64
_PLACE_IN_MEMORY: Final = re.compile(r" at 0x[0-9a-f]+", re.IGNORECASE)
"""As Python writes an object that has no text of its own."""


class ClientSource(Protocol):
    """What can be asked of a request. Read only as far as the key needs it."""

    @property
    def peer(self) -> str:
        """Address of the other end of the connection; empty for a Unix socket."""

    @property
    def proxied(self) -> bool:
        """Whether something before us has already put the client's address in place of the peer's."""

    def header(self, name: str) -> str | None:
        """All values of the header joined by commas; None if it is absent."""

    def user(self) -> str | None:
        """The verified user, if there is one."""

    def evaluate(self, path: str) -> object:
        """What the application's `module:function` answers; may raise anything."""


class Identifier:
    """Makes identities.

    Args:
        trusted: whose forwarding headers are believed.
        ipv6_prefix: bits of an IPv6 address that stand for one client.
        hash_key: secret of the hashes; empty makes them the same everywhere, and guessable.
        cache_size: how many clients are remembered.
    """

    def __init__(
        self,
        trusted: TrustedProxies,
        ipv6_prefix: int = 64,
        hash_key: bytes = b"",
        cache_size: int = 4096,
    ) -> None:
        self._trusted = trusted
        self._ipv6_prefix = ipv6_prefix
        self._hash_key = (
            hash_key
            if len(hash_key) <= _HASH_KEY_MOST_BYTES
            else hashlib.blake2b(hash_key, digest_size=_HASH_KEY_MOST_BYTES).digest()
        )
        self._warned = False
        self._by_peer = lru_cache(cache_size)(self._identity)
        self._by_headers = lru_cache(cache_size)(partial(client_address, trusted=trusted))
        self._may_be_proxy = lru_cache(_CACHED_PEERS)(self._private_and_untrusted)

    def identify(self, spec: KeySpec, source: ClientSource) -> Identity:
        """Who sends this request, as `spec` tells clients apart.

        An anonymous request of `user` or `ip+user` is keyed by address. So is one whose header is missing or
        whose key function fails or answers nothing; then `fallback` says why.
        """
        address = self._address(source)
        kind = spec.kind
        if kind == "ip":
            return self._of("ip", address, "", None, "")
        if kind in {"user", "ip+user"}:
            user, fallback = _ask(source.user)
            if not user:
                return self._of("ip", address, "", None, fallback if fallback == "error" else "")
            return self._of(kind, address, user, user, "")
        if kind == "header":
            value = source.header(spec.argument)
            fallback = "" if value else "empty"
        else:
            value, fallback = _ask(lambda: source.evaluate(spec.argument))
        if not value:
            return self._of("ip", address, "", None, fallback)
        # With its source: the same value in another header is another client.
        return self._of(kind, address, f"{spec.argument}\0{value}", None, "")

    def _of(self, kind: KeyKind, address: str, value: str, user: str | None, fallback: str) -> Identity:
        if len(value) + len(address) > _CACHED_CHARACTERS:
            return self._identity(kind, address, value, user, fallback)
        return self._by_peer(kind, address, value, user, fallback)

    def _identity(self, kind: KeyKind, address: str, value: str, user: str | None, fallback: str) -> Identity:
        # Not only the known forms come here: the raw address of a peer is the cheapest thing to look up.
        address = client_address(address, None, None, self._trusted)
        parts: list[str] = [kind]
        if kind in {"ip", "ip+user"}:
            parts.append(prefix_of(address, self._ipv6_prefix))
        if value:
            parts.append(value)
        return Identity(self._key(kind, address, value, parts), kind, address, user, fallback)

    def _key(self, kind: KeyKind, address: str, value: str, parts: list[str]) -> str:
        sent_from = coarse_network(address, self._ipv6_prefix)
        network = {"ip": sent_from, "ip+user": sent_from, "user": value}.get(kind, "")
        letter, client = KIND_LETTERS[kind], self._digest(parts)
        key = letter + self._digest([kind, network], _NETWORK_BYTES) + client
        if kind not in {"header", "function"}:
            return key
        chosen = ClientKey(key)
        chosen.network = int(letter + self._digest([kind, sent_from], _NETWORK_BYTES), _KEY_BASE)
        return chosen

    def _digest(self, parts: list[str], size: int = _CLIENT_BYTES) -> str:
        state = hashlib.blake2b(key=self._hash_key, digest_size=size)
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")
            state.update(len(encoded).to_bytes(8, "big"))
            state.update(encoded)
        return state.hexdigest()

    def _address(self, source: ClientSource) -> str:
        """The client's address, the peer's own not yet normalised."""
        peer = source.peer
        if not self._trusted and self._warned:
            return peer
        x_forwarded_for, forwarded = source.header("X-Forwarded-For"), source.header("Forwarded")
        if not (x_forwarded_for or forwarded):
            return peer
        if not self._warned and not source.proxied and self._may_be_proxy(peer):
            self._warn_of(peer)
        if not self._trusted:
            return peer
        if len(peer) + len(x_forwarded_for or "") + len(forwarded or "") > _CACHED_CHARACTERS:
            return client_address(peer, x_forwarded_for, forwarded, self._trusted)
        return self._by_headers(peer, x_forwarded_for, forwarded)

    def _private_and_untrusted(self, peer: str) -> bool:
        address = parse_address(peer)
        if self._trusted.trusts(address):
            return False
        return not peer or (address is not None and private([address]))

    def _warn_of(self, peer: str) -> None:
        self._warned = True
        _log.warning(
            "a forwarding header came from %s, which is not a trusted proxy: all clients behind it share one"
            " limit. If it is your proxy, set %s=%s",
            peer or "a Unix socket",
            VARIABLE,
            peer or "unix",
        )


def _ask(question: Callable[[], object]) -> tuple[str, str]:
    """Asks the application who the client is: the answer as text, and why there is none."""
    try:
        text = _text_of(question())
    except Exception as error:  # noqa: BLE001 - the application's own code; counted, and the address stands in
        _log.debug("the key function failed: %r", error)
        return "", "error"
    return text, "" if text else "empty"


def _text_of(answer: object) -> str:
    """The answer as text; empty when it is nobody."""
    # False is what `user.is_authenticated and user.id` answers for nobody.
    if answer is None or answer is False:
        return ""
    if isinstance(answer, bytes):
        return answer.decode("latin-1")
    text = str(answer)
    if not isinstance(answer, str) and _PLACE_IN_MEMORY.search(text):
        # Another text in every request would be another client, and so no limit at all.
        raise TypeError(f"{type(answer).__name__} has no text of its own")
    return text
