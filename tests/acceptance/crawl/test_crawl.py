"""Applications that nobody here wrote answer as they do without the plugin.

Each is installed into an environment of its own, below `opentelemetry-instrument`, and visited four times:
twice without the plugin, in shadow with a limit that every request is above, enforcing with wide limits.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

HERE = Path(__file__).parent
APPS = sorted(path for path in (HERE / "apps").glob("*.py"))

NARROW = 'version = 1\n[tiers]\ndefault = "1/hour"\n'
WIDE = 'version = 1\n[tiers]\ndefault = "1000000/minute; 5000000/hour"\n'
OFF = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_ratelimit"}
MODES = {
    "without": ("", OFF),
    "shadow": (NARROW, {"OTEL_RATELIMIT_SHADOW": "true"}),
    "enforcing": (WIDE, {}),
    # Last, two at a time: never in the second of the first, so that signatures and moments differ.
    "without, again": ("", OFF),
}

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


def load(name, folder=HERE):
    spec = importlib.util.spec_from_file_location(f"crawl_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


environments = load("environments", HERE.parent)
compare = load("compare")


def requirements(path):
    """`REQUIREMENTS` of an application's file, which only its own environment can import."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "REQUIREMENTS":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} names no REQUIREMENTS")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    try:
        return environments.wheel(tmp_path_factory.mktemp("wheel"))
    except environments.NotInstallableError as error:
        give_up(error)


def give_up(error):
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(f"needs the package registry: {str(error)[-500:]}")


@pytest.fixture(scope="module", params=APPS, ids=lambda path: path.stem)
def visited(request, built, tmp_path_factory):
    """The answers of the application, by mode."""
    path = request.param
    try:
        python = environments.environment(path.stem, tuple(requirements(path)))
        environments.install(python, "--no-deps", "--reinstall-package", "otel-ratelimit", str(built))
    except environments.NotInstallableError as error:
        give_up(error)
    folders = [tmp_path_factory.mktemp(f"{path.stem}-visit") for _ in MODES]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(partial(visit_once, python, path), folders, MODES.values())
        return dict(zip(MODES, done, strict=True))


def visit_once(python, path, folder, mode):
    policy, environ = mode
    if policy:
        (folder / "ratelimit.toml").write_text(policy)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "FLASK_"))}
    out = folder / "answers.json"
    done = subprocess.run(
        [python.parent / "opentelemetry-instrument", python, HERE / "visit.py", path, out],
        cwd=folder,
        env={
            **inherited,
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "PYTHONHASHSEED": "0",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert out.exists(), done.stdout + done.stderr
    return json.loads(out.read_text())


@pytest.mark.parametrize("mode", ["shadow", "enforcing"])
def test_answers_are_the_same_with_the_plugin(visited, mode):
    first, second, found = visited["without"], visited["without, again"], visited[mode]
    assert found["active"]
    assert not first["active"]
    different = list(compare.differences(first, second, found))
    assert not different, "\n".join(different[:40])


def test_the_visit_proves_something(visited):
    first, second = visited["without"], visited["without, again"]
    assert not list(compare.differences(first, second, second))
    statuses = {answer.get("status", "raised")[:3] for answer in first["answers"]}
    assert len(first["answers"]) >= 20
    assert "200" in statuses
    assert len(compare.unsteady(first, second)) <= len(first["answers"]) / 10
    limited = [a for a in visited["enforcing"]["answers"] if "RateLimit" in dict(a.get("headers", ()))]
    assert len(limited) >= len(first["answers"]) / 2
