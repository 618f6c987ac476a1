"""Packages that are too old, of two generations, or installed twice are noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from variants import quick_first

from otel_ratelimit.runtime.neighbours import (
    driver_problems,
    own_requirements,
    pair_problems,
    problems_at_start,
    version_problems,
)

ROOT = Path(__file__).parents[2]
GOOD = {
    "opentelemetry-api": "1.45.0",
    "opentelemetry-sdk": "1.45.0",
    "opentelemetry-instrumentation": "0.66b1",
    "opentelemetry-instrumentation-flask": "0.66b1",
    "opentelemetry-distro": "0.66b1",
    "psycopg2-binary": "2.9.10",
}


def whole(problems):
    return [str(problem) for problem in problems]


def test_here_all_is_well():
    assert not problems_at_start()
    assert not whole(version_problems(own_requirements()))
    assert not whole(pair_problems())


@pytest.mark.parametrize(
    ("bounds", "version", "is_met"),
    [
        (">=3.0", "3.0", True),
        (">=3.0", "3.0.0", True),
        (">=3.0", "3.1.2", True),
        (">=3.0", "2.3.3", False),
        (">=3.0", "10.0", True),
        (">=4.1", "4.0.9", False),
        (">=4.1", "4.10", True),
        (">=5.8", "5.8.0rc1", True),
        (">=1.45,<2", "2.0", False),
        ("<2,>=1.45", "1.44.9", False),
        (">=0.66b1", "0.66b1", True),
        (">=0.66b1", "0.65b0", False),
        ("", "anything", True),
    ],
)
def test_a_version_is_compared_with_its_bounds(bounds, version, is_met):
    found = whole(version_problems([f"Thing[extra]{bounds} ; python_version > '3'"], {"Thing": version}.get))
    assert found != is_met, found


def test_every_requirement_of_the_distribution_is_checked():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(whole(version_problems(own_requirements(), lambda _: "0"))) == len(declared)
    missing = whole(version_problems(own_requirements(), lambda _: None))
    assert len(missing) == len(declared)
    assert all("is not installed; pip install" in problem for problem in missing)


def test_the_driver_from_source_stands_in_for_the_wheel():
    assert not whole(version_problems(["psycopg2-binary>=2.9.9"], {"psycopg2": "2.9.10"}.get))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"opentelemetry-instrumentation-flask": "0.65b0"}, ["another release of OpenTelemetry than 1.45"]),
        ({"opentelemetry-distro": "0.67b0"}, ["opentelemetry-distro"]),
        ({"opentelemetry-api": "1.46.0"}, ["were not released together"]),
        ({"opentelemetry-instrumentation": None}, []),
        ({"opentelemetry-api": "1.45.2"}, []),
    ],
)
def test_the_parts_of_opentelemetry_belong_together(changed, words):
    found = whole(pair_problems({**GOOD, **changed}.get))
    assert bool(found) == bool(words)
    for word in words:
        assert any(word in problem for problem in found), found


def test_a_driver_that_is_installed_twice():
    assert not whole(driver_problems(GOOD.get))
    assert not whole(driver_problems({"psycopg2": "2.9.9"}.get))
    [problem] = driver_problems({**GOOD, "psycopg2": "2.9.9"}.get)
    assert "own the same files" in str(problem)


@pytest.fixture
def beside(tmp_path):
    """`beside(name, version)`: as installed, for processes with this PYTHONPATH."""

    def install(name, version):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return {**os.environ, "PYTHONPATH": str(tmp_path)}

    return install


def run(environ, *command):
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


TWO = "from flask import Flask; from otel_ratelimit import RateLimit; [RateLimit(Flask(n)) for n in 'ab']"


@pytest.mark.parametrize(
    ("name", "version", "words"),
    quick_first(
        [
            ("psycopg2", "2.9.9", "own the same files"),
            ("flask", "2.3.3", "otel-ratelimit needs >=3.0"),
            ("flask-limiter", "3.12", "otel-ratelimit needs >=4.1"),
            ("limits", "4.0", "otel-ratelimit needs >=5.8"),
        ]
    ),
)
def test_an_application_says_so_when_it_starts_and_so_does_the_doctor(beside, name, version, words):
    environ = beside(name, version)
    assert words in run(environ, sys.executable, "-c", TWO).stderr
    doctor = run(environ, Path(sys.executable).parent / "otel-ratelimit", "doctor")
    assert doctor.returncode == 1
    assert words in doctor.stdout
