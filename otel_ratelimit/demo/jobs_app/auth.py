"""Signing in and out, by a signed session cookie."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify, session
from flask.typing import ResponseReturnValue
from werkzeug.security import check_password_hash

from .database import database
from .web import body, current_user_id, field

blueprint = Blueprint("auth", __name__)


@blueprint.post("/login")
def login() -> ResponseReturnValue:
    """Start a session."""
    values = body()
    user = database.fetch_one(
        "SELECT id, name, password_hash FROM users WHERE email = %s", (field(values, "email", str).lower(),)
    )
    if user is None or not check_password_hash(user["password_hash"], field(values, "password", str)):
        abort(401, "Unknown e-mail address or wrong password.")
    session.clear()
    session["user_id"] = user["id"]
    return jsonify(id=user["id"], name=user["name"])


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session."""
    session.clear()
    return "", 204


@blueprint.get("/me")
def me() -> ResponseReturnValue:
    """The signed-in user."""
    user = database.fetch_one(
        "SELECT id, email, name, headline FROM users WHERE id = %s", (current_user_id(),)
    )
    return jsonify(user)
