"""CORS headers for refused requests to views with Flask-CORS's `@cross_origin`: a browser may read them.

`CORS(app)` adds its headers after every request, refused ones too. `@cross_origin` adds them to the response
of the view, and a refused request does not reach its view. The decorator's options are in its closure;
Flask-CORS's own functions make the same headers from them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from flask import Flask, Response

_DECORATOR_MODULE: Final = "flask_cors.decorator"
_MAX_DECORATORS: Final = 32


def add_cors_headers(response: Response, app: Flask, view: Callable[..., Any] | None) -> None:
    """Add the headers that `@cross_origin` on `view` would have added; none if it has no such decorator."""
    # Not imported here: an application without Flask-CORS does not use the decorator.
    core: Any = sys.modules.get("flask_cors.core")
    if core is None or view is None:
        return
    for options in _given_options(view):
        core.set_cors_headers(response, core.get_cors_options(app, options))
        setattr(response, core.FLASK_CORS_EVALUATED, True)
        return


def _given_options(view: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """The options of each `@cross_origin` around `view`, the outermost first."""
    function: Any = view
    for _ in range(_MAX_DECORATORS):
        if getattr(function, "__globals__", {}).get("__name__") == _DECORATOR_MODULE:
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            if "_options" in cells:
                yield cells["_options"].cell_contents
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return
