"""A blueprint whose routes are added without methods that the application's class overrides.

An application's own `add_url_rule` may add a prefix, require a login or expect further arguments: that is
meant for its own routes, and not for the API's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App


class DirectSetupState(BlueprintSetupState):
    """Adds routes as Flask does, whatever the class of the application."""

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        """Add a route below the blueprint's prefix."""
        path = f"{(self.url_prefix or '').rstrip('/')}/{rule.lstrip('/')}"
        Flask.add_url_rule(self.app, path, f"{self.name}.{endpoint}", view_func, **options)


def direct_blueprint(name: str, import_name: str, url_prefix: str) -> Blueprint:
    """A plain `Blueprint`, to be registered with its own `register` and not with the application's."""
    blueprint = Blueprint(name, import_name, url_prefix=url_prefix)

    def make_setup_state(
        app: App, options: dict[str, Any], first_registration: bool = False
    ) -> BlueprintSetupState:
        return DirectSetupState(blueprint, app, options, first_registration)

    vars(blueprint)["make_setup_state"] = make_setup_state
    return blueprint
