"""Files of zones: the folder, the names, and which of them nobody needs any more.

    otel-ratelimit-1000-shop                                a zone that was asked for by name
    otel-ratelimit-1000-server=4026531836-71-9310-1-50000000    the zone of a server's worker processes
    otel-ratelimit-1000-new=4026531836-72-9311-5f3a         a file that a process is making

The first number is the user. A name from a URI is percent-encoded, so that it never contains `=`.
After `=` come the namespace of process numbers, the number and the start time of a process: of the server, or
of the process that makes the file. A file whose process has ended is stale.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from otel_ratelimit.core.errors import ZoneMemoryError
from otel_ratelimit.storage.zone.process_tree import (
    ProcessIdentity,
    lives,
    own_identity,
    pid_namespace,
)

SHARED_MEMORY: Final = Path("/dev") / "shm"
MODE: Final = 0o600
"""Permissions of each file: its user may read and write it, and nobody else."""
_OF_A_PROCESS: Final = re.compile(r"(?:server|new)=(\d+)-(\d+)-(\d+)-.*")


def zone_folder(in_memory: Path = SHARED_MEMORY) -> Path:
    """The folder of zones: in memory on Linux, elsewhere the folder of temporary files (TMPDIR).

    Args:
        in_memory: the folder to prefer.

    Raises:
        ZoneMemoryError: there is no folder to write to.
    """
    if not hasattr(os, "geteuid"):
        raise ZoneMemoryError("shared memory", "this system has no files of one user", "use Linux or macOS")
    effective = os.access in os.supports_effective_ids
    if sys.platform == "linux" and os.access(in_memory, os.W_OK | os.X_OK, effective_ids=effective):
        return in_memory
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        instead = f"make {in_memory} writable, or set TMPDIR to a folder that is"
        raise ZoneMemoryError("shared memory", f"there is no folder to write to ({error})", instead) from None


def named_path(folder: Path, name: str) -> Path:
    """The file of a zone that was asked for by name."""
    return folder / (_prefix() + quote(name, safe=""))


def server_path(folder: Path, server: ProcessIdentity, number: int, size: int) -> Path:
    """The file of the zone that a server's workers share for their RateLimit of this number."""
    return folder / f"{_prefix()}server={pid_namespace()}-{server.pid}-{server.start}-{number}-{size}"


def temporary_path(folder: Path) -> Path:
    """A name of its own for a file that this process makes."""
    maker = own_identity()
    name = f"{_prefix()}new={pid_namespace()}-{maker.pid}-{maker.start}-{secrets.token_hex(4)}"
    return folder / name


def lock_path(folder: Path) -> Path:
    """The file that a process locks while it makes another."""
    return folder / f"{_prefix()}lock="


def fault_of(found: os.stat_result) -> str:
    """Why a file cannot be ours; empty if it is one that only this user can have made and opened."""
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is not a regular file"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}"
    mode = stat.S_IMODE(found.st_mode)
    return "" if mode == MODE else f"its permissions are {mode:04o}, and {MODE:04o} are needed"


def remove_stale(folder: Path) -> None:
    """Remove files of this user whose server, or whose maker, has ended.

    Files of living processes stay, and so do named zones, files of other users, and files of processes in
    other namespaces: whether those run cannot be seen from here.
    """
    namespace = pid_namespace()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            owner = _process_of(entry.name)
            if owner is not None and owner[0] == namespace and not lives(owner[1]):
                _remove_own(entry)


def _prefix() -> str:
    return f"otel-ratelimit-{os.geteuid()}-"


def _process_of(name: str) -> tuple[int, ProcessIdentity] | None:
    """The namespace and the process in a file's name; None where the name holds none, or is not ours."""
    prefix = _prefix()
    match = _OF_A_PROCESS.fullmatch(name[len(prefix) :]) if name.startswith(prefix) else None
    if match is None:
        return None
    namespace, pid, start = (int(number) for number in match.groups())
    return namespace, ProcessIdentity(pid, start)


def _remove_own(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):  # another process was faster
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            Path(entry.path).unlink()
