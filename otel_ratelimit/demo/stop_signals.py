"""Ctrl-C and SIGTERM as an exception, so that what was started is stopped in good order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. It is no error, so that no handler of errors takes it for one."""


@contextmanager
def signals_stop() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped`, once; while it is made good they are not heard.

    It may come anywhere, also within code that raises something else then, as `Thread.start` does. From
    here it is `Stopped` all the same.
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
