"""From a request to an `Identity`: how the key of a client is made.

A key is a letter (`KIND_LETTERS`) and two keyed BLAKE2b hashes (RFC 7693): 24 bits for the client's network
(`client_network`) and 104 bits for the client. They hash the kind and the parts of the client, each part
after its length, so that different clients never hash the same text, and nothing that a client sends changes
the size of a key. A verified user is the same client in every network, so each user is a network. The value
of a header or of a function is one client in every network as well, but the sender may choose it. There the
sender's network is kept beside the key (`ClientKey`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, Protocol

from otel_ratelimit.core.identity import ClientKey, Identity
from otel_ratelimit.core.route_plan import KIND_LETTERS, NETWORK_DIGITS, KeyKind, KeySpec
from otel_ratelimit.core.secret import SecretKey
from otel_ratelimit.policy.defaults import IPV6_PREFIX_BITS
from otel_ratelimit.policy.identity.application_answer import WANTED, UnusableAnswerError, client_text
from otel_ratelimit.policy.identity.client_behind_proxies import find_client_address
from otel_ratelimit.policy.identity.client_network import coarse_network, one_client_of
from otel_ratelimit.policy.identity.proxy_warnings import ProxyWarnings
from otel_ratelimit.policy.identity.remembered_users import RememberedUsers
from otel_ratelimit.policy.identity.shared_address_warning import SharedAddressWatch
from otel_ratelimit.policy.identity.trusted_proxies import TrustedProxies

_logger = logging.getLogger(__name__)

_NETWORK_BYTES: Final = NETWORK_DIGITS // 2
_CLIENT_BYTES: Final = 16 - _NETWORK_BYTES
_KEY_BASE: Final = 32
"""The letters of kinds and hexadecimal digits are all digits in this base."""
_CACHED_CHARACTERS: Final = 256
"""Longer values are not cached, so that the size of the cache in bytes is bounded too."""
_CACHED_PEERS: Final = 256
"""Proxies are few, but without proxies every client is a peer."""
_MAX_HASH_KEY_BYTES: Final = 64
_MAX_REPORTS: Final = 32
"""How many different faults of the application's functions are logged at WARNING; more go to DEBUG."""


class ClientSource(Protocol):
    """The parts of a request that a key may need; only those that it does need are read."""

    @property
    def peer(self) -> str:
        """The address at the other end of the connection; empty for a Unix socket."""

    @property
    def proxied(self) -> bool:
        """Whether `peer` is already the client's address, because earlier code has set it."""

    def header(self, name: str) -> str | None:
        """All values of the header joined by commas; None if it is absent."""

    def user(self) -> object:
        """The verified user as the application returns it, or None; may raise anything."""

    def evaluate(self, path: str) -> object:
        """The return value of the application's `module:function`; may raise anything."""


class Identifier:
    """Makes identities.

    Args:
        trusted: which proxies are trusted, and which header they write.
        ipv6_prefix: bits of an IPv6 address that stand for one client.
        hash_key: the secret of the hashes; without one they are the same everywhere, and can be guessed.
        cache_size: how many clients are cached.
        user_from: the policy's `[identity] user`, for the log.
    """

    def __init__(
        self,
        trusted: TrustedProxies,
        ipv6_prefix: int = IPV6_PREFIX_BITS,
        hash_key: bytes | SecretKey = b"",
        cache_size: int = 4096,
        user_from: str = "auto",
    ) -> None:
        self._trusted = trusted
        self._believing = bool(trusted)
        self._user_from = user_from
        self._reported: set[tuple[str, str]] = set()
        self._ipv6_prefix = ipv6_prefix
        # Created once and copied for each hash. So no attribute holds the secret, which could be printed.
        self._begun = {size: _keyed(SecretKey.of(hash_key), size) for size in (_NETWORK_BYTES, _CLIENT_BYTES)}
        self._warnings = ProxyWarnings(trusted)
        self._header, self._other_header = self._warnings.header, self._warnings.other
        # A header with a single address has no other address to compare with.
        self._watch = SharedAddressWatch(trusted) if trusted and trusted.header.form != "single" else None
        self._users = RememberedUsers(self._identity)
        self._by_peer = lru_cache(cache_size)(self._users.identity)
        self._by_headers = lru_cache(cache_size)(partial(find_client_address, trusted=trusted))
        self._may_be_proxy = lru_cache(_CACHED_PEERS)(self._warnings.may_be_proxy)

    def identify(self, spec: KeySpec, source: ClientSource) -> Identity:
        """The client of a request, by the key that `spec` names.

        An anonymous request is keyed by its address if `spec` is `user` or `ip+user`. So is a request without
        the header, or whose function fails or returns nothing that can identify a client; `fallback` says
        why.
        """
        address = self._address(source)
        kind = spec.kind
        if kind == "ip":
            return self._of("ip", address, "", None, "")
        if kind in {"user", "ip+user"}:
            user, fallback = self._ask("[identity] user", self._user_from, source.user)
            if not user:
                return self._of("ip", address, "", None, fallback if fallback == "error" else "")
            return self._of(kind, address, user, user, "")
        if kind == "header":
            value = source.header(spec.argument)
            fallback = "" if value else "empty"
        else:
            value, fallback = self._ask("key", spec.argument, lambda: source.evaluate(spec.argument))
        if not value:
            return self._of("ip", address, "", None, fallback)
        # The source is hashed too: the same value in another header is another client.
        return self._of(kind, address, f"{spec.argument}\0{value}", None, "")

    def users(self) -> dict[str, str]:
        """The names of the users seen last, by client key: a limited number, and no very long ones."""
        return self._users.by_key()

    def _of(self, kind: KeyKind, address: str, value: str, user: str | None, fallback: str) -> Identity:
        if len(value) + len(address) > _CACHED_CHARACTERS:
            return self._identity(kind, address, value, user, fallback)
        return self._by_peer(kind, address, value, user, fallback)

    def _identity(self, kind: KeyKind, address: str, value: str, user: str | None, fallback: str) -> Identity:
        # The address may be a peer's that is not normalised yet, because that is the cheapest cache key.
        address = find_client_address(address, None, self._trusted)
        parts: list[str] = [kind]
        if kind in {"ip", "ip+user"}:
            parts.append(one_client_of(address, self._ipv6_prefix))
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
        state = self._begun[size].copy()
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")
            state.update(len(encoded).to_bytes(8, "big"))
            state.update(encoded)
        return state.hexdigest()

    def _address(self, source: ClientSource) -> str:
        """The client's address; that of the peer is not normalised yet."""
        peer, warnings = source.peer, self._warnings
        if not self._believing:
            if warnings.of_untrusted and (source.header(self._header) or source.header(self._other_header)):
                self._look_at_forwarding(source, peer)
            return peer
        written = source.header(self._header)
        if not written:
            if warnings.of_other_header and source.header(self._other_header) and not source.proxied:
                warnings.other_header(peer)
            return peer
        return peer if source.proxied else self._address_from_proxies(peer, written)

    def _address_from_proxies(self, peer: str, written: str) -> str:
        """The address that the proxies wrote, if the peer is one of them; warns about suspicious settings."""
        warnings = self._warnings
        if warnings.of_untrusted and self._may_be_proxy(peer):
            warnings.untrusted(peer, self._header)
        if len(peer) + len(written) > _CACHED_CHARACTERS:
            address = find_client_address(peer, written, self._trusted)
        else:
            address = self._by_headers(peer, written)
        if address == peer:
            if warnings.of_few_hops:
                warnings.few_hops(peer, written)
            return address
        watch = self._watch
        if watch is not None and watch.saw(written, address):
            self._watch = None
        return address

    def _look_at_forwarding(self, source: ClientSource, peer: str) -> None:
        if not source.proxied and self._may_be_proxy(peer):
            written = self._header if source.header(self._header) else self._other_header
            self._warnings.untrusted(peer, written)

    def _ask(self, setting: str, where: str, question: Callable[[], object]) -> tuple[str, str]:
        """Ask the application who the client is: the answer as text, and the reason if there is no answer."""
        try:
            text = client_text(question())
        except Exception as error:  # noqa: BLE001 - the application's own code may raise anything
            self._report(f'{setting} = "{where}"', error)
            return "", "error"
        return text, "" if text else "empty"

    def _report(self, setting: str, error: Exception) -> None:
        """Log a fault of the application's function at WARNING the first time, and at DEBUG later."""
        if isinstance(error, UnusableAnswerError):
            what = f"returned {error}, which can be another text in each request"
        else:
            what = f"raised {type(error).__name__}"
        fault = (setting, what)
        if fault in self._reported or len(self._reported) >= _MAX_REPORTS:
            _logger.debug("%s failed again: %r", setting, error)
            return
        self._reported.add(fault)
        sentence = "%s %s: the client's address is counted instead. Let it return %s"
        _logger.warning(sentence, setting, what, WANTED)


def _keyed(key: SecretKey, size: int) -> hashlib.blake2b:
    """A hash of `size` bytes with `key`; a key that is too long is hashed first."""
    if len(key.reveal()) > _MAX_HASH_KEY_BYTES:
        key = SecretKey(hashlib.blake2b(key.reveal(), digest_size=_MAX_HASH_KEY_BYTES).digest())
    return hashlib.blake2b(key=key.reveal(), digest_size=size)
