"""From a query string to a model: every mistake found at once, each with what would be right.

Werkzeug's own parser is lenient: it replaces bytes that are not UTF-8 and keeps the first of repeated values.
Here both are mistakes, so the query string is parsed again, as `application/x-www-form-urlencoded`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict, ValidationError

from otel_ratelimit.web.api.problems import ParameterError, bad_parameters

MAX_QUERY_BYTES: Final = 16_384
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_CHARACTERS: Final = 60


class Mismatch(NamedTuple):
    """The error text for a value that does not match its parameter's pattern."""

    what: str
    instead: str


class Parameters(BaseModel):
    """The query parameters of one endpoint; a parameter that is not described is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mismatches: ClassVar[Mapping[str, Mismatch]] = {}
    """By parameter, for those whose pattern does not explain itself."""


class NoParameters(Parameters):
    """A query without parameters."""


Model = TypeVar("Model", bound=Parameters)


def parse(model: type[Model], query: bytes) -> Model:
    """Read `query` as `model`.

    Args:
        model: one field for each parameter.
        query: the query string, undecoded.

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


def _values(model: type[Parameters], query: bytes) -> tuple[dict[str, str], list[ParameterError]]:
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
    """The error of a value of any parameter; empty if there is none."""
    if value is None:
        return "is not UTF-8"
    if not value:
        return "is empty"
    return "holds a control character" if _CONTROL.search(value) else ""


def _unknown(model: type[Parameters], name: str) -> ParameterError:
    close = difflib.get_close_matches(name[:_SHOWN_CHARACTERS], model.model_fields, n=1)
    return ParameterError(
        parameter=name[:_SHOWN_CHARACTERS],
        what="is not a parameter of this endpoint",
        instead=f"did you mean {close[0]}?" if close else _known(model),
    )


def _known(model: type[Parameters]) -> str:
    names = ", ".join(model.model_fields)
    return f"known are {names}" if names else "this endpoint takes none"


def _explained(model: type[Parameters], error: Any, values: dict[str, str]) -> ParameterError:
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return ParameterError(parameter=name, what="is missing", instead=_instead(model, name))
    if error["type"] == "string_pattern_mismatch" and name in model.mismatches:
        what, instead = model.mismatches[name]
        return ParameterError(parameter=name, what=f"{shown(values[name])} {what}", instead=instead)
    message = str(error["msg"]).removeprefix("Value error, ")
    what = f"{shown(values[name])}: {message[:1].lower()}{message[1:]}"
    return ParameterError(parameter=name, what=what, instead=_instead(model, name))


def _instead(model: type[Parameters], name: str, otherwise: str = "") -> str:
    field = model.model_fields[name]
    example = f"for instance {name}={(field.examples or [''])[0]}"
    return f"{example}, or {otherwise}" if otherwise and not field.is_required() else example


def shown(value: str) -> str:
    """A value as messages quote it: never longer than a line."""
    return repr(value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…")
