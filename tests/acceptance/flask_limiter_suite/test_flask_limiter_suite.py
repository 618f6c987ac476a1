"""Flask-Limiter's own tests pass over our store as they do over the one that they were written for.

They come with its source distribution, which is unpacked into the cache; nothing of them is kept here.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

HERE = Path(__file__).parent
VERSION = "4.1.1"
NEEDED = (
    f"Flask-Limiter=={VERSION}",
    "Flask[async]",
    "flask-restful",
    "flask-restx",
    "asgiref",
    "redis",
    "pymemcache",
    "pymongo",
    "hiro",
    "pip",
    "pytest",
    "pytest-check",
    "pytest-mock",
    "setuptools<81",
)
ABOUT_THE_OTHER_STORE: set[str] = set()
"""Tests that reach into `MemoryStorage` itself, each with its reason: none today."""

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


def _environments():
    spec = importlib.util.spec_from_file_location("environments", HERE.parent / "environments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """`suite(*arguments)`: outcome of each of Flask-Limiter's tests."""
    environments = _environments()
    try:
        python = environments.environment("flask-limiter-suite", NEEDED)
        built = environments.wheel(tmp_path_factory.mktemp("wheel"))
        environments.install(python, "--no-deps", "--reinstall-package", "otel-ratelimit", str(built))
        sources = _sources(environments, python)
    except environments.NotInstallableError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(f"needs the package registry: {str(error)[-500:]}")

    def run(*arguments):
        report = tmp_path_factory.mktemp("report") / "junit.xml"
        command = [
            python,
            "-m",
            "pytest",
            "-q",
            "-c",
            os.devnull,
            "--rootdir",
            sources,
            "-p",
            "no:cacheprovider",
        ]
        done = subprocess.run(
            [*command, f"--junitxml={report}", *arguments, "tests"],
            cwd=sources,
            env={**os.environ, "PYTHONPATH": str(HERE), "COLUMNS": "80"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert report.exists(), done.stdout + done.stderr
        return _outcomes(report)

    return run


def _sources(environments, python):
    folder = environments.CACHE / f"flask-limiter-{VERSION}"
    if not folder.exists():
        command = (python, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps")
        environments.run(*command, "--dest", environments.CACHE, f"flask-limiter=={VERSION}")
        with tarfile.open(environments.CACHE / f"flask_limiter-{VERSION}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return folder / f"flask_limiter-{VERSION}"


def _outcomes(report):
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = kinds.pop() if kinds else "passed"
    return outcomes


def passed(outcomes):
    return {name for name, outcome in outcomes.items() if outcome == "passed"}


def test_as_many_pass_as_over_its_own_store(suite):
    own, ours = suite(), suite("-p", "on_our_store")
    # The others start servers in Docker.
    assert len(passed(own)) >= 110, own
    lost = passed(own) - passed(ours)
    if lost - set(ABOUT_THE_OTHER_STORE):
        # Some of them compare whole seconds of two moments, which a busy machine moves apart.
        lost -= passed(suite("-p", "on_our_store"))
    assert sorted(lost) == sorted(ABOUT_THE_OTHER_STORE)
