"""The application object, as a WSGI server looks for it: `gunicorn jobs_app.app:app`."""

from __future__ import annotations

import os
import secrets

from flask import Flask

from . import (
    ai,
    analytics,
    applications,
    auth,
    companies,
    dashboard,
    documents,
    email,
    jobs,
    meta,
    scraping,
    workflow,
)
from .web import register_errors

AREAS = (
    meta.blueprint,
    auth.blueprint,
    jobs.blueprint,
    companies.blueprint,
    applications.blueprint,
    ai.blueprint,
    scraping.blueprint,
    documents.blueprint,
    email.blueprint,
    workflow.blueprint,
    dashboard.blueprint,
    analytics.blueprint,
)


def create_app() -> Flask:
    """The job board, with every area registered."""
    app = Flask(__name__)
    # Without SECRET_KEY each process signs its own sessions: right for one, wrong for several.
    app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY") or secrets.token_hex()
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["MAX_CONTENT_LENGTH"] = 256 * 1024
    for area in AREAS:
        app.register_blueprint(area)
    register_errors(app)
    return app


app = create_app()
