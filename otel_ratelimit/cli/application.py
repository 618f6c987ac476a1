"""Loads the application that a command is about, and its limits."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from flask import Flask
from flask.cli import NoAppException, ScriptInfo

from otel_ratelimit.cli.output import WRONG_USE, CommandError, fail
from otel_ratelimit.core.errors import ConfigurationError
from otel_ratelimit.runtime.rate_limit import RateLimit, rate_limit_of
from otel_ratelimit.web.route_plans import RoutePlans


def load_app(app_path: str) -> Flask:
    """The application, as Flask finds it; ends the command if it cannot be loaded."""
    # As `flask` and `python -m` do: modules of the working directory can be imported.
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:
        raise CommandError("the working directory does not exist any more; change to another") from None
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return ScriptInfo(app_import_path=app_path, set_debug_flag=False).load_app()
    except ConfigurationError as error:
        fail(error)
    except NoAppException as error:
        click.echo(f"{app_path}: {error}", err=True)
    except Exception as error:  # noqa: BLE001 - the application's import may raise anything
        click.echo(f"{app_path} could not be imported: {type(error).__name__}: {error}", err=True)
    sys.exit(WRONG_USE)


def plans_of(app: Flask, policy_path: Path | None) -> RoutePlans:
    """The plans of all its routes; ends the command if the policy cannot be used."""
    return rate_limit_for(app, policy_path).plans(app)


def rate_limit_for(app: Flask, policy_path: Path | None) -> RateLimit:
    """The `RateLimit` that is attached to the application, or a new one with the given policy.

    Ends the command if the policy cannot be used.
    """
    attached = rate_limit_of(app) if policy_path is None else None
    try:
        return attached or RateLimit(policy=policy_path)
    except ConfigurationError as error:
        fail(error)
