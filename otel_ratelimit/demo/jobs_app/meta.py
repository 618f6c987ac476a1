"""Describes the API, and whether it works."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from .database import database

blueprint = Blueprint("meta", __name__)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """A sentence and the way in."""
    return jsonify(name="Job board", start="/api/jobs", sign_in="POST /login")


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """Whether the database answers."""
    database.execute_query("SELECT 1")
    return jsonify(status="ok")
