"""Errors arrive in another process as they were: `concurrent.futures` and Celery pickle them."""

from __future__ import annotations

import pickle

import pytest

from otel_ratelimit.core.errors import (
    MailError,
    PartWrittenError,
    PolicyError,
    Problem,
    RateLimitError,
    RemediableError,
    SchemaMissingError,
    SettingsError,
    StorageNotMeasuredError,
    StorageUnavailableError,
)
from otel_ratelimit.core.services import SeveralServicesError, UnknownServiceError
from otel_ratelimit.demo.errors import ExtraMissingError
from otel_ratelimit.postgres.embedded import PostgresError, WheelMissingError

PROBLEM = Problem("ratelimit.toml:3", "no limit", "write 5/minute")
MAIL = {"server": "localhost:25", "step": "connecting", "said": "refused", "remedy": "start it"}
ERRORS = [
    PolicyError([PROBLEM]),
    SettingsError([PROBLEM, PROBLEM]),
    StorageUnavailableError("timeout"),
    StorageNotMeasuredError("redis"),
    SchemaMissingError("no tables"),
    PartWrittenError(frozenset({"query_logs"})),
    MailError(**MAIL, may_pass=True, attempts=3),
    RemediableError("it does not start", "start it", exit_status=2),
    PostgresError("it does not start", "start it"),
    WheelMissingError(),
    ExtraMissingError(["locust"]),
    UnknownServiceError("shop", ["blog"]),
    SeveralServicesError(["blog", "shop"], "a policy has limits of one", "name it with --service"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def kinds(kind):
    return {kind}.union(*map(kinds, kind.__subclasses__()))


def test_every_error_that_takes_something_else_than_a_text_is_tried():
    ours = {kind for kind in kinds(RateLimitError) if kind.__module__.startswith("otel_ratelimit.")}
    own = {kind for kind in ours if "__init__" in vars(kind)}
    tried = {kind for error in ERRORS for kind in type(error).__mro__}
    assert {kind.__name__ for kind in own - tried} == set()
