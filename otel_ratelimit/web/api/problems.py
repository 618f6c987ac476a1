"""Error responses of the API: `application/problem+json` (RFC 9457).

All have the type `about:blank`, whose title is the phrase of the status. `detail` says what went wrong, and
`errors` lists each wrong parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, Literal

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from otel_ratelimit.web.refusal_responses import PROBLEM_JSON
from otel_ratelimit.web.response_headers import retry_after_seconds

NO_STORE: Final = "no-store"


class ParameterError(BaseModel):
    """One query parameter that cannot be used."""

    model_config = ConfigDict(frozen=True)

    parameter: str = Field(description="The name of the parameter; empty for the query string as a whole.")
    what: str = Field(description="What is wrong.")
    instead: str = Field(description="What would be right.")


class ProblemAnswer(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(default="about:blank", description="The kind of problem, as a URI.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What happened, and what can be done about it.")


class ParameterProblem(ProblemAnswer):
    """The query string cannot be used; all mistakes in it."""

    status: Literal[400] = 400
    errors: list[ParameterError] = Field(description="Each parameter that is wrong.", min_length=1)


class QuotaProblem(ProblemAnswer):
    """A rate limit, the API's own or one of the policy, refused the request."""

    status: Literal[429] = 429
    violated_policies: list[str] = Field(
        alias="violated-policies", description="Names of the limits that refused, as in `RateLimit`."
    )


class ProblemError(Exception):
    """Ends a request with a problem.

    Args:
        status: the HTTP status.
        detail: for the client; never contains secrets or internals.
        errors: the parameters that are wrong.
        headers: of the response.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[ParameterError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


def bad_parameters(errors: Sequence[ParameterError]) -> ProblemError:
    """The 400 with each wrong parameter."""
    names = ", ".join(dict.fromkeys(error.parameter or "the query string" for error in errors))
    return ProblemError(HTTPStatus.BAD_REQUEST, f"These cannot be used: {names}.", errors=errors)


def unavailable(detail: str, retry_seconds: float | None = None) -> ProblemError:
    """The 503; with `Retry-After` if waiting may help."""
    headers = {} if retry_seconds is None else {"Retry-After": str(retry_after_seconds(retry_seconds))}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)


def analytics_are_off() -> ProblemError:
    """The 503 without a database; waiting does not help."""
    return unavailable("Analytics are off: set OTEL_RATELIMIT_DATABASE_URL to a PostgreSQL database.")


def problem_response(problem: ProblemError) -> Response:
    """The response for a problem."""
    status, title = problem.status, problem.status.phrase
    answer: ProblemAnswer
    if problem.errors:
        answer = ParameterProblem(title=title, detail=problem.detail, errors=list(problem.errors))
    else:
        answer = ProblemAnswer(title=title, status=status, detail=problem.detail)
    response = Response(answer.model_dump_json(by_alias=True), status=status, mimetype=PROBLEM_JSON)
    response.headers["Cache-Control"] = NO_STORE
    response.headers.update(problem.headers)
    return response
