"""Ctrl-C and SIGTERM as an exception, so that everything that was started is stopped in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. It is not an `Exception`, so that no handler of errors catches it."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped`, once; after that, they are ignored.

    The exception may be raised anywhere, also in code that turns it into another exception, as `Thread.start`
    does. The caller gets `Stopped` in any case.
    """
    asked = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for number in former:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in former:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if asked:
            raise Stopped from error
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
