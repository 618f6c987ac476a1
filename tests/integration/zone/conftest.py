"""Folders for zones, as /dev/shm is one; and programs in namespaces of their own (unshare, mount).

shared_folder   any user may write to it
in_namespaces   runs a program there
program_output  runs a program in a new interpreter
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from components import MissingError, program

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """As /dev/shm and /tmp: any user may write to it. Other users cannot reach those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="zones-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def run(command: list[str], text: str, *arguments: object) -> Any:
    """What a Python program prints as JSON."""
    done = subprocess.run(
        [*command, sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def program_output() -> Callable[..., Any]:
    """`program_output(text, *arguments)`: what a Python program prints as JSON."""
    return lambda text, *arguments: run([], text, *arguments)


@pytest.fixture(scope="session")
def in_namespaces() -> Callable[..., Any]:
    """`in_namespaces(options, setup, text, *arguments)`: the same, as the root of new namespaces.

    `options` are those of `unshare`; `setup` are commands of the shell that run there first.
    """
    for name, package in (("unshare", "util-linux"), ("mount", "mount")):
        program(name, package)
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*unshare, "-m", "true"], capture_output=True, check=False).returncode:
        raise MissingError("the right to make namespaces", "run the tests as root")

    def run_there(options: str, setup: str, text: str, *arguments: object) -> Any:
        shell = ["sh", "-c", f'{setup} && exec "$@"', "sh"]
        return run([*unshare, *options.split(), *shell], text, *arguments)

    return run_there
