"""The types that query parameters have: how each is read, and how the OpenAPI document describes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, Field, IPvAnyAddress, WithJsonSchema

from otel_ratelimit.core.periods import EXAMPLES, Period, parse_date_range
from otel_ratelimit.web.api.problems import ParameterError, bad_parameters
from otel_ratelimit.web.route_plans import KNOWN_METHODS

NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]+$"
PERIOD: Final = (
    "The period: one that ends now (`30m`, `24h`, `7d`), a day (`2026-01-31`), or from one date or time to"
    " another (`2026-01-01/2026-01-31`); of two dates the last is included. UTC, 366 days at most."
)
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,320})?([eE][+-]?[0-9]{1,3})?")


def _whole_number(text: object) -> object:
    # Python reads ' 1', '+1', '1_0' and '1.0' as whole numbers too.
    if isinstance(text, str) and not _DIGITS.fullmatch(text):
        raise ValueError("it is not a whole number")
    return text


def _decimal(text: object) -> object:
    if isinstance(text, str) and not _DECIMAL.fullmatch(text):
        raise ValueError("it is not a number")
    return text


WholeNumber: TypeAlias = Annotated[int, BeforeValidator(_whole_number)]
Decimal: TypeAlias = Annotated[float, BeforeValidator(_decimal)]
Address: TypeAlias = Annotated[
    IPvAnyAddress, WithJsonSchema({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
]
Method: TypeAlias = Annotated[
    str,
    Field(pattern=f"^({'|'.join(sorted(KNOWN_METHODS))})$"),
    WithJsonSchema({"type": "string", "enum": sorted(KNOWN_METHODS)}),
]
DateRange: TypeAlias = Annotated[
    str,
    Field(
        description=PERIOD,
        max_length=100,
        examples=["24h", "7d", "2026-01-01/2026-01-31"],
        json_schema_extra={"format": "date-range"},
    ),
]
"""Read by `period_asked`."""


def period_asked(date_range: str, now: float) -> Period:
    """The period of a `DateRange`.

    Args:
        date_range: the parameter's value.
        now: Unix time in seconds.

    Raises:
        ProblemError: 400, it is not valid.
    """
    try:
        return parse_date_range(date_range, datetime.fromtimestamp(now, UTC))
    except (ValueError, OverflowError) as wrong:
        # Overflow: a time in the first or last hours of the calendar, with an offset that exceeds it.
        what, _, instead = str(wrong).partition("; ")
        error = ParameterError(parameter="date_range", what=what, instead=instead or EXAMPLES)
        raise bad_parameters([error]) from None
