"""Ctrl-C and SIGTERM as an exception, so that what was started is stopped in good order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):  # noqa: N818 - it is no error
    """Ctrl-C or SIGTERM."""


@contextmanager
def signals_stop() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped`, once; while it is made good they are not heard."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in former:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in former:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
