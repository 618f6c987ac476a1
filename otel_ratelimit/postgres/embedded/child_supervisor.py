"""Runs one command, and ends it when the process that started this one ends, however that happens.

    python child_supervisor.py [--signal NAME] [--grace SECONDS] [--user UID:GID] -- command ...

Standard input is a pipe whose other end the starter holds. When it closes, on purpose or because the starter
was killed with SIGKILL, the command gets the signal `--signal`; processes that are left after `--grace`
seconds are killed. SIGUSR1 kills the command at once. This file uses the standard library only, because it is
started by its path.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading

COULD_NOT_START = 127


def main(arguments: list[str]) -> int:
    """Run the command; its exit status, or 128 plus the signal that ended it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--signal", default="TERM")
    parser.add_argument("--grace", type=float, default=5.0)
    parser.add_argument("--user", default="")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    try:
        child = _start(options.command, options.user)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{options.command[0]} could not be started: {error}\n")
        return COULD_NOT_START

    stop_signal = signal.Signals[f"SIG{options.signal}"]

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(stop_signal)
        try:
            child.wait(options.grace)
        except subprocess.TimeoutExpired:
            _kill_group(child.pid)

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        stop()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop).start())
    signal.signal(signal.SIGUSR1, lambda *_: _kill_group(child.pid))
    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    _kill_group(child.pid)
    return status if status >= 0 else 128 - status


def _start(command: list[str], user: str) -> subprocess.Popen[bytes]:
    if not user:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    uid, _, gid = user.partition(":")
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        user=int(uid),
        group=int(gid),
        extra_groups=[],
    )


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
