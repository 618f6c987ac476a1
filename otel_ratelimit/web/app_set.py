"""A weak set of applications that calls none of their methods."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from flask import Flask


class AppSet:
    """Like `weakref.WeakSet`, by identity: an application may be half-built, or define `__eq__`."""

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Flask]] = {}
        self._former = ""

    def add(self, app: Flask) -> None:
        """Hold `app`, weakly."""
        number, references = id(app), self._references
        if not references:
            self._former = ""

        def forget(gone: weakref.ref[Flask]) -> None:
            # Another application may have the same address since.
            if references.get(number) is gone:
                del references[number]

        references[number] = weakref.ref(app, forget)

    def discard(self, app: Flask) -> None:
        """Remove `app`."""
        self.name()
        self._references.pop(id(app), None)

    def name(self) -> str:
        """`import_name` of the first one, also when all have gone; empty before the first."""
        found = next((app.import_name for app in self), self._former)
        self._former = self._former or found
        return found

    def __contains__(self, app: Flask) -> bool:
        reference = self._references.get(id(app))
        return reference is not None and reference() is app

    def __iter__(self) -> Iterator[Flask]:
        found = [reference() for reference in list(self._references.values())]
        return iter([app for app in found if app is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))
