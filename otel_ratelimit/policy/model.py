"""The policy file as a validated, immutable model: every key, its type and its default.

The models check each table for itself; `cross_checks` compares tables. `[report]` is in `report`, `[cache]`
in `cache`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from otel_ratelimit.core.route_plan import HeaderStyle, KeySpec, OnError, Strategy
from otel_ratelimit.core.thresholds import (
    CLEANUP_INTERVAL_SECONDS,
    MEMORY_CAPACITY_BYTES,
    MEMORY_CRITICAL_BYTES,
    MEMORY_WARNING_BYTES,
    MEMORY_WARNING_SHARE,
)
from otel_ratelimit.policy import defaults
from otel_ratelimit.policy.cache import Cache
from otel_ratelimit.policy.identity.ipv4_in_ipv6 import ipv4_of
from otel_ratelimit.policy.invalid_value import InvalidValueError, shown
from otel_ratelimit.policy.limit_notation import parse_limits
from otel_ratelimit.policy.report import Report
from otel_ratelimit.policy.route_pattern import RoutePattern
from otel_ratelimit.policy.toml_table import Duration, Size, TomlTable, read_size

_KEY_KINDS: Final = ("ip", "user", "ip+user")
_HEADER: Final = re.compile(r"header:([A-Za-z0-9!#$%&'*+.^_`|~-]+)")
_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_TIER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def parse_key(text: str) -> KeySpec:
    """Read `ip | user | ip+user | header:NAME | module:function`.

    Raises:
        InvalidValueError: `text` is none of these.
    """
    if text in _KEY_KINDS:
        return KeySpec(text)  # type: ignore[arg-type]  # checked above
    header = _HEADER.fullmatch(text)
    if header:
        return KeySpec("header", header[1])
    if not text.startswith("header:") and _FUNCTION.fullmatch(text):
        return KeySpec("function", text)
    raise InvalidValueError(
        f"{shown(text)} is not a key", "use ip, user, ip+user, header:NAME or module:function"
    )


def _limits(text: str) -> str:
    parse_limits(text)
    return text


def _key(text: str) -> str:
    parse_key(text)
    return text


def _pattern(text: str) -> str:
    RoutePattern.parse(text)
    return text


def _user(text: str) -> str:
    kind, _, argument = text.partition(":")
    if text in {"auto", "none"} or (kind == "session" and argument) or _HEADER.fullmatch(text):
        return text
    if kind != "header" and _FUNCTION.fullmatch(text):
        return text
    raise InvalidValueError(
        f"{shown(text)} does not say where the user is found",
        "use auto, none, header:NAME, session:KEY or module:function",
    )


def _shadow(value: Any) -> Any:
    # Checked before the union, which would report an error for each of its types.
    if isinstance(value, str):
        return _limits(value)
    if not isinstance(value, bool):
        raise InvalidValueError(
            f"{shown(value)} is neither true, false nor limits", "write true, or the limits that only observe"
        )
    return value


def _whole(value: Any) -> Any:
    # True and 1.0 equal 1 in Python, and would be accepted.
    if type(value) is not int:
        raise InvalidValueError(f"{shown(value)} is not a version", "write version = 1")
    return value


def _draft(value: Any) -> Any:
    # True would be accepted for 1, and 11.0 for 11.
    if type(value) in {int, str} and value in (11, 12, "none"):
        return value
    raise InvalidValueError(f"{shown(value)} is not a revision of the draft", 'write 11, 12 or "none"')


def _tier_name(name: str) -> str:
    if not _TIER_NAME.fullmatch(name):
        raise InvalidValueError(f"{shown(name)} is not a tier's name", "use up to 64 letters, digits, - _ .")
    return name


Limits = Annotated[StrictStr, AfterValidator(_limits)]
Key = Annotated[StrictStr, AfterValidator(_key)]
TierName = Annotated[StrictStr, AfterValidator(_tier_name)]
PatternText = Annotated[StrictStr, AfterValidator(_pattern)]
StrategyName = Literal["fixed-window", "sliding-window-counter", "moving-window"]
Scope = Literal["endpoint", "method", "rule", "tier"]


class RouteRule(TomlTable):
    """`[[routes]]`: limits for the routes that `match` names. The first rule that matches wins."""

    match: PatternText
    tier: StrictStr | None = None
    limits: Limits | None = None
    key: Key | None = None
    strategy: StrategyName | None = None
    on_error: OnError | None = None
    shadow: Annotated[StrictBool | Limits, BeforeValidator(_shadow)] = False
    """True: the rule only observes. A text names those of its limits that only observe."""
    scope: Scope = "endpoint"
    """Whether one counter is for an endpoint, for each method of it, for the whole rule, or for the tier."""
    cost: Annotated[StrictInt, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _one_of_tier_and_limits(self) -> RouteRule:
        if (self.tier is None) == (self.limits is None):
            what = "neither a tier nor limits" if self.tier is None else "both a tier and limits"
            raise InvalidValueError(
                f"the rule for {shown(self.match)} has {what}", "give exactly one of them"
            )
        if self.scope == "tier" and self.tier is None:
            raise InvalidValueError(
                f"the rule for {shown(self.match)} has scope tier and no tier", "name a tier"
            )
        return self


class ClientRule(TomlTable):
    """`[[clients]]`: a known client, whose limits are multiplied by `multiply` or do not apply (`exempt`)."""

    match: StrictStr
    multiply: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] = 1.0
    exempt: StrictBool = False

    @field_validator("match")
    @classmethod
    def _known_form(cls, match: str) -> str:
        kind, _, argument = match.partition(":")
        if kind == "ip" and argument:
            parse_network(argument)
            return match
        if kind == "user" and argument:
            return match
        raise InvalidValueError(
            f"{shown(match)} names no client", 'write "user:NAME" or "ip:ADDRESS" or "ip:CIDR"'
        )


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network of an address or CIDR.

    Raises:
        InvalidValueError: `text` is neither.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        instead = "write for instance 192.0.2.7, 192.0.2.0/24 or 2001:db8::/48"
        raise InvalidValueError(f"{shown(text)} is neither an address nor a CIDR", instead) from error
    if "%" in text:
        raise InvalidValueError(
            f"{shown(text)} has a zone, and addresses are compared without zones", text.partition("%")[0]
        )
    host = ipaddress.ip_address(text.partition("/")[0])
    if host != network.network_address:
        raise InvalidValueError(f"{shown(text)} has bits set after its prefix", f"did you mean {network}?")
    carried = ipv4_of(host) if isinstance(host, ipaddress.IPv6Address) else None
    if carried is not None:
        raise InvalidValueError(
            f"{shown(text)} can never match: IPv4-mapped and NAT64 addresses are taken as IPv4",
            f"write for instance {carried}",
        )
    return network


class Unmatched(TomlTable):
    """`[unmatched]`: requests that match no route (404, 405); they share one counter."""

    tier: StrictStr | None = None
    limits: Limits | None = None
    shadow: StrictBool = False

    @model_validator(mode="after")
    def _not_both(self) -> Unmatched:
        if self.tier is not None and self.limits is not None:
            raise InvalidValueError("[unmatched] has both a tier and limits", "give one of them")
        return self


class IdentityTable(TomlTable):
    """`[identity]`: who a client is."""

    user: Annotated[StrictStr, AfterValidator(_user)] = defaults.USER
    ipv6_prefix: Annotated[StrictInt, Field(ge=32, le=128)] = defaults.IPV6_PREFIX_BITS


class Memory(TomlTable):
    """`[memory]`: the in-process store. Read at start only."""

    capacity: Size = MEMORY_CAPACITY_BYTES
    warning: Size = MEMORY_WARNING_BYTES
    critical: Size = MEMORY_CRITICAL_BYTES
    cleanup_interval: Duration = CLEANUP_INTERVAL_SECONDS

    @model_validator(mode="before")
    @classmethod
    def _thresholds_follow_the_capacity(cls, table: Any) -> Any:
        """A smaller store has smaller thresholds, unless they are given."""
        if isinstance(table, dict) and isinstance(table.get("capacity"), str | int):
            capacity = table["capacity"]
            # A value that is not a size is reported later, when the key itself is validated.
            with contextlib.suppress(InvalidValueError):
                size = read_size(capacity)
                table = {"warning": int(size * MEMORY_WARNING_SHARE), "critical": size, **table}
        return table

    @model_validator(mode="after")
    def _in_order(self) -> Memory:
        if not self.warning <= self.critical <= self.capacity:
            raise InvalidValueError(
                f"warning {self.warning}, critical {self.critical}, capacity {self.capacity}: out of order",
                "warning must not exceed critical, nor critical the capacity",
            )
        return self


class Analytics(TomlTable):
    """`[analytics]`: what is recorded about refused requests."""

    batch_size: Annotated[StrictInt, Field(ge=1, le=10_000)] = defaults.BATCH_SIZE
    flush_interval: Duration = defaults.FLUSH_INTERVAL_SECONDS
    retention: Duration = defaults.RETENTION_SECONDS
    client_addresses: Literal["whole", "masked", "hashed"] = defaults.CLIENT_ADDRESSES


class Responses(TomlTable):
    """`[responses]`: which rate-limit headers responses carry."""

    draft: Annotated[Literal[11, 12, "none"], BeforeValidator(_draft)] = defaults.HEADERS_DRAFT
    """Revision of draft-ietf-httpapi-ratelimit-headers; 12 is the editors' draft, not published yet."""
    x_headers: StrictBool = defaults.X_HEADERS

    @property
    def style(self) -> HeaderStyle:
        """The same as the type that the writer of headers takes."""
        return HeaderStyle(0 if self.draft == "none" else self.draft, self.x_headers)


class Policy(TomlTable):
    """A whole policy file."""

    version: Annotated[Literal[1], BeforeValidator(_whole)]
    default_tier: StrictStr = defaults.DEFAULT_TIER
    key: Key = defaults.KEY
    strategy: StrategyName = defaults.STRATEGY
    on_error: OnError = defaults.ON_ERROR
    exempt: tuple[PatternText, ...] = defaults.BUILT_IN_EXEMPT
    tiers: dict[TierName, Limits] = Field(default_factory=lambda: dict(defaults.BUILT_IN_TIERS))
    routes: tuple[RouteRule, ...] = ()
    clients: tuple[ClientRule, ...] = ()
    unmatched: Unmatched = Unmatched()
    identity: IdentityTable = IdentityTable()
    memory: Memory = Memory()
    analytics: Analytics = Analytics()
    cache: Cache = Cache()
    report: Report = Report()
    responses: Responses = Responses()

    _origin: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("tiers", mode="before")
    @classmethod
    def _built_in_tiers_stay(cls, tiers: Any) -> Any:
        return {**defaults.BUILT_IN_TIERS, **tiers} if isinstance(tiers, dict) else tiers

    @property
    def key_spec(self) -> KeySpec:
        """The default key."""
        return parse_key(self.key)

    @property
    def default_strategy(self) -> Strategy:
        """The default strategy."""
        return Strategy(self.strategy)

    @property
    def strategies(self) -> frozenset[Strategy]:
        """Every strategy that some window may have."""
        return frozenset({self.default_strategy, *(Strategy(r.strategy) for r in self.routes if r.strategy)})

    def origin(self, place: str) -> str:
        """`routes[2] (ratelimit.toml:31)`, or the place alone where there is no file."""
        return self._origin.get(place, place)

    def line_of(self, place: str) -> str:
        """`ratelimit.toml:31`; empty if `place` is not in the file, so that the default holds."""
        return self.origin(place).removeprefix(place).strip(" ()")

    def given(self) -> dict[str, str]:
        """File and line of everything in the file, by its place: `memory.capacity`, `routes[2].tier`."""
        return {place: self.line_of(place) for place in self._origin}

    def set_origins(self, origins: Mapping[str, str]) -> None:
        """Set the file and line of each place; the loader calls this once."""
        self._origin.update(origins)
