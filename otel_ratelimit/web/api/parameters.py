"""From a query string to a model: every mistake found at once, each with what would be right.

Werkzeug's own reading is lenient: it replaces what is not UTF-8 and keeps the first of repeated values.
Here both are mistakes, so the query string is read anew, as `application/x-www-form-urlencoded`.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    ValidationError,
    WithJsonSchema,
)

from otel_ratelimit.analytics.recommended_limits import MAX_REJECTED_SHARE
from otel_ratelimit.analytics.rows import GroupName
from otel_ratelimit.core.periods import EXAMPLES, Period, parse_date_range
from otel_ratelimit.web.api.problems import ParameterError, bad_parameters
from otel_ratelimit.web.route_plans import KNOWN_METHODS

MAX_QUERY_BYTES: Final = 16_384
MAX_PAGES: Final = 10_000
MAX_PAGE_SIZE: Final = 200
PAGE_SIZE: Final = 50

_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,320})?([eE][+-]?[0-9]{1,3})?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]+$"
_SHOWN_CHARACTERS: Final = 60
_PERIOD: Final = (
    "The period: one that ends now (`30m`, `24h`, `7d`), a day (`2026-01-31`), or from one date or time to"
    " another (`2026-01-01/2026-01-31`); of two dates the last is included. UTC, 366 days at most."
)

Model = TypeVar("Model", bound=BaseModel)


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
        description=_PERIOD,
        max_length=100,
        examples=["24h", "7d", "2026-01-01/2026-01-31"],
        json_schema_extra={"format": "date-range"},
    ),
]
"""Read by `period_asked`."""


class Parameters(BaseModel):
    """What all queries have in common: nothing that is not described."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParameters(Parameters):
    """A query without parameters."""


class AnalyticsParameters(Parameters):
    """What analytics are asked for."""

    date_range: DateRange = "24h"
    endpoint: str | None = Field(
        default=None,
        description=(
            "Only this route, as in `violations.groups`: its template, or the name of its Flask endpoint"
            " (`jobs.detail`), which stands for all of its routes. `endpoint_matched` says which it was."
        ),
        max_length=300,
        pattern=_NO_CONTROL,
        examples=["/api/jobs/<int:job_id>"],
    )
    group_by: GroupName = Field(
        default="endpoint",
        description="What violations are grouped by: `endpoint` is the route template, `ip` means `client`.",
        examples=["client"],
    )
    page: WholeNumber = Field(
        default=1, ge=1, le=MAX_PAGES, description="Which page of the groups.", examples=[1]
    )
    page_size: WholeNumber = Field(
        default=PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Groups on a page.", examples=[PAGE_SIZE]
    )
    max_rejected_share: Decimal = Field(
        default=MAX_REJECTED_SHARE,
        ge=0.0,
        le=1.0,
        description="The share of clients that a recommended limit may refuse.",
        examples=[MAX_REJECTED_SHARE],
    )
    service: str | None = Field(
        default=None,
        description=(
            "Only the service of this `service.name`; `*` for all together. Default: the only one that"
            " recorded anything in the period, else the application that answers."
        ),
        max_length=300,
        pattern=_NO_CONTROL,
        examples=["jobs-api"],
    )


class CacheAnalysisParameters(Parameters):
    """Of which days the reports are asked for."""

    date_range: Annotated[
        DateRange,
        Field(
            description=(
                f"{_PERIOD} Every date that the period touches counts, and the report of a date is that of"
                " the day which has it in the report's own time zone."
            ),
            examples=["30d", "7d", "2026-01-01/2026-01-31"],
        ),
    ] = "30d"


class StatusParameters(Parameters):
    """The request whose limits are asked for."""

    path: str = Field(
        description="Its path, as the application sees it, without a query.",
        max_length=500,
        pattern=r"^/[^\x00-\x1f\x7f?#]*$",
        examples=["/api/jobs/7"],
    )
    method: Method = Field(default="GET", description="Its method.", examples=["POST"])
    ip: Address | None = Field(
        default=None,
        description=(
            "The client's address. Needed unless the route counts by a user, header or function alone, and"
            " `user` or `key` gives it."
        ),
        examples=["192.0.2.7"],
    )
    user: str | None = Field(
        default=None,
        description="The verified user; without it the request is anonymous.",
        max_length=256,
        pattern=_NO_CONTROL,
        examples=["alice"],
    )
    key: str | None = Field(
        default=None,
        description=(
            "For a route that counts by a header or a function: the header's value, or what the function"
            " answers."
        ),
        max_length=256,
        pattern=_NO_CONTROL,
        examples=["4f1c"],
    )


_PATTERNS: Final = {
    "method": ("is not a known method", f"one of {', '.join(sorted(KNOWN_METHODS))}"),
    "path": ("is not a path", "begin with / and leave out ? and #, for instance path=/api/jobs/7"),
}
"""What a mismatch means, and what would match, for those whose pattern is not plain."""


def parse(model: type[Model], query: bytes) -> Model:
    """Read `query` as `model`.

    Args:
        model: one field for each parameter.
        query: the query string as it came, undecoded.

    Raises:
        ProblemError: 400, with every parameter that is wrong.
    """
    if len(query) > MAX_QUERY_BYTES:
        raise bad_parameters(
            [
                ParameterError(
                    parameter="",
                    what=f"{len(query)} bytes of query string",
                    instead=f"at most {MAX_QUERY_BYTES} bytes",
                )
            ]
        )
    values, errors = _values(model, query)
    wrong = {error.parameter for error in errors}
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        found = (_explained(model, each, values) for each in error.errors(include_url=False))
        errors.extend(each for each in found if each.parameter not in wrong)
    else:
        if not errors:
            return parsed
    raise bad_parameters(errors)


def period_asked(date_range: str, now: float) -> Period:
    """The period of a `DateRange`.

    Args:
        date_range: as it was asked for.
        now: Unix time in seconds.

    Raises:
        ProblemError: 400, it is none.
    """
    try:
        return parse_date_range(date_range, datetime.fromtimestamp(now, UTC))
    except (ValueError, OverflowError) as wrong:
        # Overflow: a time in the first or last hours of the calendar, with an offset that leads out of it.
        what, _, instead = str(wrong).partition("; ")
        error = ParameterError(parameter="date_range", what=what, instead=instead or EXAMPLES)
        raise bad_parameters([error]) from None


def _values(model: type[BaseModel], query: bytes) -> tuple[dict[str, str], list[ParameterError]]:
    values: dict[str, str] = {}
    errors: list[ParameterError] = []
    for pair in query.split(b"&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name is None:
            errors.append(
                ParameterError(parameter="", what="a name that is not UTF-8", instead=_known(model))
            )
        elif name not in model.model_fields:
            errors.append(_unknown(model, name))
        elif name in values:
            errors.append(ParameterError(parameter=name, what="is given more than once", instead="give one"))
        else:
            values[name] = value or ""
            if problem := _unreadable(value):
                errors.append(
                    ParameterError(
                        parameter=name, what=problem, instead=_instead(model, name, "leave it out")
                    )
                )
    return values, errors


def _decoded(raw: bytes) -> str | None:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None


def _unreadable(value: str | None) -> str:
    """What is wrong with a value whatever it is for; empty if nothing is."""
    if value is None:
        return "is not UTF-8"
    if not value:
        return "is empty"
    return "holds a control character" if _CONTROL.search(value) else ""


def _unknown(model: type[BaseModel], name: str) -> ParameterError:
    close = difflib.get_close_matches(name[:_SHOWN_CHARACTERS], model.model_fields, n=1)
    return ParameterError(
        parameter=name[:_SHOWN_CHARACTERS],
        what="is not a parameter of this endpoint",
        instead=f"did you mean {close[0]}?" if close else _known(model),
    )


def _known(model: type[BaseModel]) -> str:
    names = ", ".join(model.model_fields)
    return f"known are {names}" if names else "this endpoint takes none"


def _explained(model: type[BaseModel], error: Any, values: dict[str, str]) -> ParameterError:
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return ParameterError(parameter=name, what="is missing", instead=_instead(model, name))
    if error["type"] == "string_pattern_mismatch" and name in _PATTERNS:
        what, instead = _PATTERNS[name]
        return ParameterError(parameter=name, what=f"{shown(values[name])} {what}", instead=instead)
    message = str(error["msg"]).removeprefix("Value error, ")
    what = f"{shown(values[name])}: {message[:1].lower()}{message[1:]}"
    return ParameterError(parameter=name, what=what, instead=_instead(model, name))


def _instead(model: type[BaseModel], name: str, otherwise: str = "") -> str:
    field = model.model_fields[name]
    example = f"for instance {name}={(field.examples or [''])[0]}"
    return f"{example}, or {otherwise}" if otherwise and not field.is_required() else example


def shown(value: str) -> str:
    """A value as it is quoted in messages: never longer than a line."""
    return repr(value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…")
