"""`[cache]`: the assumptions of the cache analysis; `[[cache.prices]]`: what a cache costs.

This module only reads and checks the file. The defaults are in `core/cache_assumptions.py`, and the price
presets in `cache_advice/prices.py`. `reports/assumptions.py` hands both to the analysis.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ModelWrapValidatorHandler,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from otel_ratelimit.core.cache_assumptions import (
    DEFAULT_CURRENCY,
    DEFAULT_RESERVE,
    Allocator,
    Assumptions,
    Engine,
    PriceKind,
)
from otel_ratelimit.policy.invalid_value import InvalidValueError, shown
from otel_ratelimit.policy.toml_table import Size, TomlTable

_DEFAULTS: Final = Assumptions()

_MAX_KEY_BYTES: Final = 512 * 2**20
"""Redis and Valkey take no longer key (https://redis.io/docs/latest/develop/using-commands/keyspace/)."""
_MAX_MONEY: Final = 10**12
_MAX_MILLISECONDS: Final = 60_000
_MAX_SIZE_FACTOR: Final = 1000
_MAX_NAME_CHARACTERS: Final = 100
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def is_currency(value: object) -> bool:
    """Whether `value` has the form of a currency code (ISO 4217)."""
    return isinstance(value, str) and _CURRENCY.fullmatch(value) is not None


def _number(what: str, instead: str, is_right: Callable[[float], bool]) -> BeforeValidator:
    """A validator for numbers; the bounds of `is_right` also exclude NaN and infinity."""

    def read(value: Any) -> float:
        # True is an int in Python, and would be read as 1.
        if isinstance(value, bool) or not isinstance(value, int | float) or not is_right(value):
            raise InvalidValueError(f"{shown(value)} is not {what}", instead)
        return float(value)

    return BeforeValidator(read)


def _key_bytes(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MAX_KEY_BYTES:
        raise InvalidValueError(f"{shown(value)} is not the length of a key", "write whole bytes, at least 1")
    return value


def _currency(text: str) -> str:
    if not is_currency(text):
        example = text.upper() if is_currency(text.upper()) else DEFAULT_CURRENCY
        raise InvalidValueError(
            f"{shown(text)} is not a currency", f'write its three capital letters, for instance "{example}"'
        )
    return text


def _name(text: str) -> str:
    if not text.strip():
        raise InvalidValueError("the name is empty", 'write for instance name = "our own"')
    if not text.isprintable():
        raise InvalidValueError(
            f"{shown(text)} is not one line of visible characters", "use letters, digits and spaces"
        )
    if len(text) > _MAX_NAME_CHARACTERS:
        raise InvalidValueError(
            f"{shown(text)} has {len(text)} characters", f"use a name of at most {_MAX_NAME_CHARACTERS}"
        )
    return text


def _date(value: Any) -> date:
    # In Python a datetime is a date, too.
    if type(value) is date:
        return value
    if isinstance(value, datetime):
        raise InvalidValueError(
            f"{shown(value)} is a date with a time", f"write the date alone: {value.date()}"
        )
    if isinstance(value, str):
        raise InvalidValueError(
            f"{shown(value)} is text", "write a date without quotes, for instance 2026-06-01"
        )
    raise InvalidValueError(f"{shown(value)} is not a date", "write for instance 2026-06-01")


def _prices(value: Any) -> Any:
    if isinstance(value, dict):
        raise InvalidValueError(
            "is one table, and prices are a list", "write [[cache.prices]], with two brackets"
        )
    return value


_Milliseconds = Annotated[
    float,
    _number(
        "a time in milliseconds",
        f"write a number from 0 to {_MAX_MILLISECONDS}",
        lambda number: 0 <= number <= _MAX_MILLISECONDS,
    ),
]
_Money = Annotated[
    float,
    _number(
        "an amount of money",
        "write a number, 0 or more, without a currency",
        lambda number: 0 <= number <= _MAX_MONEY,
    ),
]
_SizeFactor = Annotated[
    float,
    _number(
        "a multiple of a size",
        f"write a number above 0 and at most {_MAX_SIZE_FACTOR}",
        lambda number: 0 < number <= _MAX_SIZE_FACTOR,
    ),
]
_StaleShare = Annotated[
    float, _number("a share", "write a number from 0 to 1", lambda number: 0 <= number <= 1)
]
_Reserve = Annotated[
    float,
    _number(
        "a share of memory that can stay free",
        "write a number from 0 to less than 1",
        lambda number: 0 <= number < 1,
    ),
]

_PAID_BY_USE: Final = ("month", "gb_hour", "million_requests", "least_memory")
_KEYS: Final[Mapping[object, tuple[str, ...]]] = {
    "instance": ("memory", "month"),
    "serverless": _PAID_BY_USE,
    "self-hosted": _PAID_BY_USE,
}
"""The keys that the price of each kind is made of."""
_ALL_KEYS: Final = frozenset(key for keys in _KEYS.values() for key in keys)


class CachePrice(TomlTable):
    """One table of `[[cache.prices]]`, as the file has it; amounts are in the currency of `[cache]`.

    `Price` of `cache_advice/prices.py` is what the analysis computes with, and has the presets.
    """

    name: Annotated[StrictStr, AfterValidator(_name)]
    kind: PriceKind
    as_of: Annotated[date | None, BeforeValidator(_date)] = None
    """The day on which the provider listed this price."""
    memory: Size = 0
    """Bytes of one instance; 0 for the other kinds."""
    month: _Money = 0.0
    """Money a month: for one instance, or for the operation of a self-hosted cache."""
    gb_hour: _Money = 0.0
    """Money for a gigabyte (10^9 bytes) for an hour."""
    million_requests: _Money = 0.0
    """Money for a million requests of up to a kilobyte each."""
    least_memory: Size = 0
    """The least memory that is billed, bytes."""

    @model_validator(mode="wrap")
    @classmethod
    def _fits_its_kind(cls, table: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        """Reports wrong keys for this kind at their own lines, together with all other mistakes."""
        found = list(_mistakes(table)) if isinstance(table, dict) else []
        try:
            price = read(table)
        except ValidationError as error:
            found[:0] = [
                InitErrorDetails(
                    type=details["type"],
                    loc=details["loc"],
                    input=details["input"],
                    ctx=details.get("ctx", {}),
                )
                for details in error.errors()
            ]
            raise ValidationError.from_exception_data(cls.__name__, found) from error
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return price


def _mistakes(price: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    for key, wrong in _against_its_kind(price):
        yield InitErrorDetails(type="value_error", loc=(key,), input=price.get(key), ctx={"error": wrong})


def _against_its_kind(price: Mapping[str, Any]) -> Iterator[tuple[str, InvalidValueError]]:
    """Keys that do not belong to this kind of cache, and keys that are missing."""
    kind = price.get("kind")
    used = _KEYS.get(kind, ()) if isinstance(kind, str) else ()
    if not used:
        return
    for key in price:
        if key in _ALL_KEYS and key not in used:
            what = f"{key} means nothing for kind = {shown(kind)}"
            yield key, InvalidValueError(what, f"remove it; the price is made of {', '.join(used)}")
    if kind == "instance" and "memory" not in price:
        yield (
            "memory",
            InvalidValueError("the memory of one instance is missing", 'write for instance memory = "4 GB"'),
        )
    if kind == "instance" and _is_free(price, "month"):
        yield (
            "month",
            InvalidValueError("an instance costs something a month", "write for instance month = 30.0"),
        )
    if kind == "serverless" and _is_free(price, "gb_hour", "million_requests"):
        what = "a serverless cache costs something for its memory or for requests"
        instead = "write for instance gb_hour = 0.1, or million_requests = 0.003"
        yield _first(price, "gb_hour", "million_requests"), InvalidValueError(what, instead)
    if kind == "self-hosted" and _is_free(price, "month", "gb_hour"):
        what = "a self-hosted cache has a cost as well: its memory, or its operation"
        instead = "write for instance month = 30.0, or gb_hour = 0.01"
        yield _first(price, "month", "gb_hour"), InvalidValueError(what, instead)


def _is_free(price: Mapping[str, Any], *keys: str) -> bool:
    """Whether all these keys are 0; a value that is not a number has its own message."""
    values = [price.get(key, 0) for key in keys]
    return all(not isinstance(value, bool) and value == 0 for value in values)


def _first(price: Mapping[str, Any], *keys: str) -> str:
    """The first of these keys that the file has, so that the message names its line."""
    return next((key for key in keys if key in price), keys[0])


class Cache(TomlTable):
    """`[cache]`: the assumptions of the cache analysis."""

    engine: Engine = _DEFAULTS.engine
    allocator: Allocator = _DEFAULTS.allocator
    """The memory allocator of the engine."""
    key_bytes: Annotated[int, BeforeValidator(_key_bytes)] = _DEFAULTS.key_bytes
    """Length of a key in the cache."""
    size_factor: _SizeFactor = _DEFAULTS.size_factor
    """Size of a cached value, as a multiple of the result as PostgreSQL sent it."""
    lookup_milliseconds: _Milliseconds = _DEFAULTS.lookup_ms
    store_milliseconds: _Milliseconds = _DEFAULTS.store_ms
    stale_share: _StaleShare = _DEFAULTS.stale_budget
    """Share of the cache's answers that may be older than a write to their tables."""
    reserve: _Reserve = DEFAULT_RESERVE
    """Share of memory that must stay free."""
    currency: Annotated[StrictStr, AfterValidator(_currency)] = DEFAULT_CURRENCY
    value_of_saved_millisecond: _Money = _DEFAULTS.value_of_saved_ms
    """Money, for a millisecond that one execution takes less."""
    value_of_database_second: _Money = _DEFAULTS.value_of_database_second
    """Money, for a second that the database is not busy."""
    prices: Annotated[tuple[CachePrice, ...], BeforeValidator(_prices)] = ()
    """Where it is empty, the presets of `cache_advice/prices.py` apply."""
