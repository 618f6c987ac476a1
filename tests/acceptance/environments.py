"""A virtual environment for each application, kept in the user's cache under what it consists of."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "otel-ratelimit" / "environments"
INSTRUMENTATIONS = ("opentelemetry-instrumentation-flask",)


class NotInstallableError(Exception):
    """The registry cannot be reached, or has no such packages for this Python."""


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 400) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise NotInstallableError(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")


def install(python: Path, *arguments: str) -> None:
    """By uv, which takes a second where pip takes a minute."""
    run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *arguments)


def environment(name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of an environment with `requirements` and with all that this package needs."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = sorted({*requirements, *needed})
    digest = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        run(sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        install(python, *wanted)
        (folder / ".ready").touch()
    return python


@cache
def wheel(folder: Path) -> Path:
    """This checkout, built as it is published."""
    run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))
