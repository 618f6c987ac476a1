"""Names that `from otel_ratelimit import ...` offers, and the cost of the import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import otel_ratelimit
from otel_ratelimit.core import errors

INTERNAL = {"DataRejectedError", "NoTimeLeftError", "PartWrittenError", "PicklableError", "RemediableError"}
"""Errors that are caught within the package: about parts of a batch, and about programs of a command."""


@pytest.mark.parametrize("name", otel_ratelimit.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(otel_ratelimit, name) is not None


def test_every_error_that_a_caller_may_see_is_public():
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and name not in INTERNAL
    }
    assert raised <= set(otel_ratelimit.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'RateLimits'"):
        otel_ratelimit.RateLimits  # noqa: B018 - the access is what is tested


def test_the_import_of_the_package_loads_neither_flask_nor_opentelemetry_nor_a_driver():
    program = "import sys, json, otel_ratelimit; print(json.dumps(list(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(found.stdout)}
    assert not loaded & {
        "flask",
        "werkzeug",
        "flask_limiter",
        "limits",
        "opentelemetry",
        "psycopg2",
        "pydantic",
    }
