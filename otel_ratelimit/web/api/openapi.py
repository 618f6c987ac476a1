"""The OpenAPI 3.1 document of the API, made from the table of endpoints and from the models.

Nothing is described by hand: the models of an endpoint say what it accepts and answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from openapi_pydantic import (
    Components,
    Header,
    Info,
    MediaType,
    OpenAPI,
    Operation,
    Parameter,
    ParameterLocation,
    PathItem,
    Reference,
    Response,
    Schema,
    SecurityScheme,
    Server,
    Tag,
)
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from otel_ratelimit.core.version import __version__
from otel_ratelimit.web.api.endpoints import Endpoint
from otel_ratelimit.web.api.parameters import Parameters
from otel_ratelimit.web.api.problems import ParameterProblem, ProblemAnswer, QuotaProblem
from otel_ratelimit.web.refusal_responses import PROBLEM_JSON

_MODE: Final[JsonSchemaMode] = "serialization"
JSON: Final = "application/json"
_TAG: Final = "rate limits"
_READER: Final = "readToken"
_ADMINISTRATOR: Final = "adminToken"
_SCHEMES: Final = {
    _READER: "A token of OTEL_RATELIMIT_API_TOKEN, or one of OTEL_RATELIMIT_ADMIN_TOKEN.",
    _ADMINISTRATOR: "A token of OTEL_RATELIMIT_ADMIN_TOKEN.",
}
_PROBLEMS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "A parameter is unknown, repeated, empty or not valid; all of them are named.",
    HTTPStatus.UNAUTHORIZED: "The token is missing or not valid, or no token is configured.",
    HTTPStatus.FORBIDDEN: "The token, or the application's own check, does not allow it.",
    HTTPStatus.NOT_FOUND: (
        "Rate limits are not attached to this application any more, or nothing is recorded of the service."
    ),
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests to this API, or a limit of the policy on it.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the API; the application's log has the details.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Rate limits cannot be checked at the moment.",
}
_PROBLEM_MODELS: Final[Mapping[HTTPStatus, type[ProblemAnswer]]] = {
    HTTPStatus.BAD_REQUEST: ParameterProblem,
    HTTPStatus.TOO_MANY_REQUESTS: QuotaProblem,
}
_MAY_WAIT: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def document(endpoints: Iterable[Endpoint], prefix: str, root: str) -> dict[str, Any]:
    """The document for `endpoints`.

    Args:
        endpoints: all endpoints.
        prefix: the path below which they are.
        root: the path below which the application is; empty for none.
    """
    endpoints = tuple(endpoints)
    schemas = _Schemas(
        [*(endpoint.answer for endpoint in endpoints), ProblemAnswer, *_PROBLEM_MODELS.values()]
    )
    paths: dict[str, PathItem] = {}
    for endpoint in endpoints:
        item = paths.setdefault(prefix + endpoint.path, PathItem())
        setattr(item, endpoint.method.lower(), _operation(endpoint, schemas))
    described = OpenAPI(
        info=Info(
            title="otel-ratelimit",
            version=__version__,
            summary="Counters, decisions and limits of an application's rate limiter.",
        ),
        servers=[Server(url=root or "/")],
        tags=[Tag(name=_TAG)],
        paths=paths,
        components=Components(
            schemas=schemas.definitions,
            securitySchemes={
                name: SecurityScheme(type="http", scheme="bearer", description=description)
                for name, description in _SCHEMES.items()
            },
        ),
    )
    return described.model_dump(mode="json", by_alias=True, exclude_none=True)


class _Schemas:
    """The schemas of all answers, and their places in the document.

    Args:
        models: the answers; the models that they contain are included.
    """

    def __init__(self, models: Iterable[type[BaseModel]]) -> None:
        places, described = models_json_schema(
            [(model, _MODE) for model in dict.fromkeys(models)],
            ref_template="#/components/schemas/{model}",
        )
        self._places = places
        self.definitions: dict[str, Schema | Reference] = {
            name: Schema.model_validate(schema) for name, schema in described["$defs"].items()
        }

    def of(self, model: type[BaseModel]) -> Reference:
        """A reference to the schema of `model`."""
        return Reference.model_validate(self._places[model, _MODE])


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Operation:
    scheme = _ADMINISTRATOR if endpoint.access == "admin" else _READER
    answer = Response(
        description="The answer.",
        content={JSON: MediaType(media_type_schema=schemas.of(endpoint.answer))},
        headers={"Cache-Control": _header("Always `no-store`.", "string")},
    )
    problems = {str(status.value): _problem(status, endpoint, schemas) for status in _PROBLEMS}
    return Operation(
        operationId=endpoint.name,
        tags=[_TAG],
        summary=endpoint.summary,
        description=endpoint.description,
        parameters=_parameters(endpoint.parameters) or None,
        responses={"200": answer, **problems},
        security=[{scheme: []}],
    )


def _problem(status: HTTPStatus, endpoint: Endpoint, schemas: _Schemas) -> Response:
    description = _PROBLEMS[status]
    if status is HTTPStatus.SERVICE_UNAVAILABLE and endpoint.unavailable:
        description = f"{endpoint.unavailable} Or: {description}"
    headers = {"Cache-Control": _header("Always `no-store`.", "string")}
    if status in _MAY_WAIT:
        headers["Retry-After"] = _header("Seconds after which to try again, where that may help.", "integer")
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = _header("`Bearer` (RFC 6750).", "string")
    model = _PROBLEM_MODELS.get(status, ProblemAnswer)
    return Response(
        description=description,
        content={PROBLEM_JSON: MediaType(media_type_schema=schemas.of(model))},
        headers=headers,
    )


def _header(description: str, kind: str) -> Header:
    return Header(description=description, param_schema=Schema.model_validate({"type": kind}))


def _parameters(model: type[Parameters]) -> list[Parameter]:
    described = model.model_json_schema()
    required = set(described.get("required", ()))
    return [
        _parameter(name, schema, required=name in required)
        for name, schema in described.get("properties", {}).items()
    ]


def _parameter(name: str, schema: dict[str, Any], *, required: bool) -> Parameter:
    schema = _without_null(schema)
    description = schema.pop("description")
    schema.pop("title", None)
    examples = schema.get("examples", [])
    return Parameter.model_validate(
        {
            "name": name,
            "in": ParameterLocation.QUERY,
            "description": description,
            "required": required,
            "schema": schema,
            "example": examples[0] if examples else None,
        }
    )


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without null: a query string has no null, and an optional parameter is not required."""
    kinds = schema.get("anyOf", [])
    if {"type": "null"} not in kinds:
        return dict(schema)
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    [kind] = [kind for kind in kinds if kind != {"type": "null"}]
    return {**rest, **kind}
