"""The base class of all tables of the policy file, and the types for sizes and durations in them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo

from otel_ratelimit.policy.invalid_value import InvalidValueError, shown
from otel_ratelimit.policy.quantities import parse_duration, parse_size


class TomlTable(BaseModel):
    """A table of the file; an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def known_keys(cls) -> dict[str, FieldInfo]:
        """The fields, by their keys in the file."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


def read_size(value: Any) -> int:
    """Bytes, from a value in the file.

    Raises:
        InvalidValueError: `value` is not a size.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidValueError(f"{shown(value)} is not a size", 'write bytes, or for instance "50 MB"')
    return parse_size(value)


def read_duration(value: Any) -> float:
    """Seconds, from a value in the file.

    Raises:
        InvalidValueError: `value` is not a duration.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidValueError(f"{shown(value)} is not a duration", 'write seconds, or for instance "60s"')
    return parse_duration(value)


Size = Annotated[int, BeforeValidator(read_size)]
Duration = Annotated[float, BeforeValidator(read_duration)]

_UNITS: Final = {read_size: "B", read_duration: "s"}


def unit_of(field: FieldInfo) -> str:
    """The unit of a key's value: `B` for a size, `s` for a duration, otherwise empty."""
    readers = (each.func for each in field.metadata if isinstance(each, BeforeValidator))
    return next((_UNITS[reader] for reader in readers if reader in _UNITS), "")
