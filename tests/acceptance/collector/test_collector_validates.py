"""The collector accepts its configurations, and refuses those that would leave a door open."""

from __future__ import annotations

import os
import subprocess

import pytest

from otel_ratelimit.demo.stack import collector as stack
from otel_ratelimit.demo.stack.collector import Collector, CollectorAddresses, configuration_folder
from otel_ratelimit.demo.stack.errors import StackError
from otel_ratelimit.demo.stack.running_program import RunningProgram

TOKEN = {"OTELCOL_GATEWAY_TOKEN": "token-of-the-test"}
FOLDER = configuration_folder()
TLS = {"OTELCOL_TLS_CERT_FILE": "/etc/cert.pem", "OTELCOL_TLS_KEY_FILE": "/etc/key.pem"}


@pytest.fixture
def validate(collector_program, tmp_path):
    def run(*files: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                collector_program,
                "validate",
                *stack.FEATURE_GATES,
                *(f"--config={FOLDER / name}.yaml" for name in files),
            ],
            env={"PATH": os.defpath, **environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("role", stack.CONFIGURATIONS)
@pytest.mark.parametrize("tls", [(), ("tls",)], ids=["plain", "tls"])
def test_each_configuration_is_valid(validate, role, tls):
    answer = validate(*stack.CONFIGURATIONS[role], *tls, **TOKEN, **TLS)

    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("role", ["agent", "gateway"])
def test_agents_and_gateways_do_not_start_without_a_token(validate, role):
    answer = validate(*stack.CONFIGURATIONS[role])

    assert answer.returncode != 0
    assert "token" in answer.stderr


@pytest.mark.parametrize("role", ["node", "agent"])
def test_nothing_starts_without_the_file_that_says_what_may_leave(validate, role):
    files = [name for name in stack.CONFIGURATIONS[role] if name != "privacy"]

    answer = validate(*files, **TOKEN)

    assert answer.returncode != 0
    assert "which is not configured" in answer.stderr


def test_a_collector_that_cannot_start_says_why(collector_program, tmp_path):
    collector = Collector(
        CollectorAddresses.free(), tmp_path, None, settings={"OTELCOL_SAMPLING_PERCENTAGE": "many"}
    )

    with pytest.raises(StackError, match="sampling_percentage"):
        RunningProgram(collector.program(os.environ)).wait_until_ready()


def test_a_collector_that_was_not_built_is_named_with_the_remedy(tmp_path):
    collector = Collector(CollectorAddresses.free(), tmp_path, None)

    with pytest.raises(StackError, match="make collector"):
        collector.program({"HOME": str(tmp_path)})


def test_make_and_python_agree_where_the_built_collector_is(collector_program, tmp_path):
    for environ in ({"HOME": str(tmp_path)}, {"HOME": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}):
        where = subprocess.run(
            [FOLDER / "build.sh", "--where"],
            env={"PATH": os.environ["PATH"], **environ},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        with pytest.raises(StackError, match=where):
            stack.built_program(environ, FOLDER)


def test_building_without_go_says_what_is_missing(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "sha256sum", "cut", "sed", "mkdir", "mktemp", "tail"):
        (tools / name).symlink_to(f"/usr/bin/{name}")

    answer = subprocess.run(
        [FOLDER / "build.sh"],
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert "Go is needed" in answer.stderr
