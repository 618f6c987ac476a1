"""Programs that the operating system brings."""

from __future__ import annotations

import shutil

from otel_ratelimit.stack.errors import StackError


def find_program(*names: str, package: str) -> str:
    """The path of the first of `names` that there is.

    Raises:
        StackError: there is none; with the package to install.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise StackError(f"{names[0]} is not installed", f"apt-get install {package}")
