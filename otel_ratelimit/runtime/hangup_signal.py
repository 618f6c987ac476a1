"""SIGHUP: one handler for the whole process, which calls every listener and then the former handler.

Each `RateLimit` with a policy file is a listener. If each one installed its own handler, a handler could not
be removed while another one stands above it, nor by a thread other than the main thread.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

Listener = Callable[[], None]
"""A bound method, called in the signal handler."""


class HangupSignal:
    """Those that listen to SIGHUP, held weakly.

    A signal handler cannot wait for a lock. So there is none, and each operation on the dictionary is atomic.
    """

    def __init__(self) -> None:
        self._listeners: dict[int, weakref.WeakMethod[Listener]] = {}

    def add(self, listener: Listener) -> bool:
        """Call `listener` at SIGHUP from now on; False where no handler can or should be installed."""
        if not _is_main_thread() or _on_terminal():
            return False
        for key, reference in list(self._listeners.items()):
            if reference() is None:
                self._listeners.pop(key, None)
        self._listeners[_key_of(listener)] = weakref.WeakMethod(listener)
        former = signal.getsignal(signal.SIGHUP)
        if not isinstance(former, _Handler):
            signal.signal(signal.SIGHUP, _Handler(self, former))
        return True

    def discard(self, listener: Listener) -> None:
        """Call `listener` no longer. The last one puts the former handler back, if it is in the main thread.

        In another thread Python refuses that; then the next SIGHUP does so.
        """
        self._listeners.pop(_key_of(listener), None)
        if _is_main_thread() and not self.alive():
            handler = signal.getsignal(signal.SIGHUP)
            if isinstance(handler, _Handler):
                handler.take_out()

    def alive(self) -> list[Listener]:
        """All that listen now."""
        found = [reference() for reference in list(self._listeners.values())]
        return [listener for listener in found if listener is not None]


class _Handler:
    """The installed handler. Where other code has installed a handler above it, a second one goes above that.

    Listeners may then be called twice, because the other handler may call this one.
    """

    def __init__(self, hangups: HangupSignal, former: Any) -> None:
        self._hangups = hangups
        # None: it was not installed from Python, which can neither call it nor install it again.
        self._former = former or signal.SIG_DFL

    def __call__(self, number: int, frame: FrameType | None) -> None:
        listeners = self._hangups.alive()
        for listener in listeners:
            listener()
        is_in_the_way = not listeners and signal.getsignal(number) is self
        if is_in_the_way:
            self.take_out()
        if callable(self._former):
            self._former(number, frame)
        elif is_in_the_way and self._former == signal.SIG_DFL:
            os.kill(os.getpid(), number)

    def take_out(self) -> None:
        """Put the former handler back."""
        signal.signal(signal.SIGHUP, self._former)


def _key_of(listener: Any) -> int:
    return id(listener.__self__)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _on_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


hangups: Final = HangupSignal()
"""The handler of this process."""
