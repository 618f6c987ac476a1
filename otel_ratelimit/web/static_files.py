"""Flask's own static views: which they are, and whether they have the requested file.

A file that exists is served without a limit. A request for one that does not exist is limited like any other
404: with `static_url_path=""` the static route matches every path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Flask
from werkzeug.security import safe_join

StaticOwner = Flask | Blueprint
"""The owner of the folder."""


def static_owner(app: Flask, endpoint: str) -> StaticOwner | None:
    """The owner of this static view; None for a view that only has that name, or overrides Flask's."""
    if endpoint.rpartition(".")[2] != "static":
        return None
    view: Any = app.view_functions.get(endpoint)
    if endpoint == "static" and getattr(view, "__module__", "") == "flask.app":
        # A closure in Flask, which calls the method of the application.
        return app if _is_flasks_own(app, Flask) else None
    owner = getattr(view, "__self__", None)
    if isinstance(owner, Blueprint) and getattr(view, "__func__", None) is Blueprint.send_static_file:
        return owner
    return app if owner is app and getattr(view, "__func__", None) is Flask.send_static_file else None


def has_file(owner: StaticOwner, arguments: Mapping[str, Any] | None) -> bool:
    """Whether the view would find the file; looks it up as `flask.send_from_directory` does."""
    folder = owner.static_folder
    filename = (arguments or {}).get("filename")
    if folder is None or not isinstance(filename, str):
        return False
    path = safe_join(os.fspath(folder), filename)
    return path is not None and os.path.isfile(path)  # noqa: PTH113 - a Path costs more than the look-up


def _is_flasks_own(owner: Flask, kind: type[Flask]) -> bool:
    return type(owner).send_static_file is kind.send_static_file and "send_static_file" not in vars(owner)
