"""Which server a process was forked from, read from /proc (Linux).

A worker process of gunicorn, uWSGI or `multiprocessing` was forked without `exec` from a server that is still
its parent. The kernel says so: the flag PF_FORKNOEXEC is set at a fork and cleared by `exec` (`stat` in
proc(5), field 9). The parent must also belong to the same session. A daemon has left the session of its
parent, which is init by then. The number of the parent says nothing: a container's process 1 may be a server.

A process number is used again some time later. So a process is known by its number and its start time.
Only `/proc/<pid>/stat` is read, because the other files of a parent are closed to a worker that has dropped
its privileges. Where /proc is missing, hides other processes (`hidepid`) or shows another namespace, no
process counts as a worker.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")

_PF_FORKNOEXEC: Final = 0x40
"""The process was forked and has not called `exec` since (include/linux/sched.h)."""
_ENDED: Final = frozenset("ZX")
"""States of a process that runs no more: a zombie, or dead."""
_FIRST_FIELD: Final = 3
"""Number of the first field after the name of the program, in proc(5)."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, told apart from later ones with the same number."""

    pid: int
    start: int
    """In clock ticks since the host was started; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The part of `/proc/<pid>/stat` that is needed here."""

    state: str
    session: int
    flags: int
    start: int


def read_stat(pid: int, proc: Path = PROC) -> ProcessStat | None:
    """The entry of a process; None where the kernel does not show it."""
    try:
        text = (proc / str(pid) / "stat").read_bytes().decode("ascii", "replace")
        # The name of the program is in parentheses, and may itself contain blanks and parentheses.
        fields = text.rpartition(")")[2].split()
        return ProcessStat(
            state=fields[0],
            session=int(fields[6 - _FIRST_FIELD]),
            flags=int(fields[9 - _FIRST_FIELD]),
            start=int(fields[22 - _FIRST_FIELD]),
        )
    except (OSError, ValueError, IndexError):
        return None


def own_identity(proc: Path = PROC) -> ProcessIdentity:
    """This process."""
    stat = read_stat(os.getpid(), proc) if _shows_own_namespace(proc) else None
    return ProcessIdentity(os.getpid(), stat.start if stat else 0)


def server_identity(proc: Path = PROC) -> ProcessIdentity | None:
    """The living server that this process was forked from as a worker; None if it is no worker."""
    server = os.getppid() if hasattr(os, "getppid") else 0
    if server == 0 or not _shows_own_namespace(proc):  # 0: the parent is in another namespace
        return None
    worker, parent = read_stat(os.getpid(), proc), read_stat(server, proc)
    if worker is None or parent is None or parent.state in _ENDED or server != os.getppid():
        return None
    if not worker.flags & _PF_FORKNOEXEC or worker.session != parent.session:
        return None
    return ProcessIdentity(server, parent.start)


def is_forked_worker(proc: Path = PROC) -> bool:
    """Whether this process was forked, without `exec`, from a server that is still its parent."""
    return server_identity(proc) is not None


def lives(process: ProcessIdentity, proc: Path = PROC) -> bool:
    """Whether a process of this namespace still runs; True where that is not known."""
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user, or is no number of a process
        pass
    stat = read_stat(process.pid, proc) if _shows_own_namespace(proc) else None
    if stat is None:
        return True
    return stat.state not in _ENDED and process.start in {0, stat.start}


def pid_namespace(proc: Path = PROC) -> int:
    """The namespace in which process numbers of this process hold; 0 where there is only one.

    Containers that share a folder do not share process numbers.
    """
    with contextlib.suppress(OSError, ValueError):
        return int(str((proc / "self" / "ns" / "pid").readlink()).strip("pid:[]"))
    return 0


def _shows_own_namespace(proc: Path) -> bool:
    """False for a /proc of another namespace, in which this process has another number."""
    try:
        return str((proc / "self").readlink()) == str(os.getpid())
    except OSError:
        return False
