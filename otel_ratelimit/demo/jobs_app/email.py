"""Mail to companies: written here, sent by a mail worker that reads the queue."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue

from .database import database
from .web import body, current_user_id, field, page

blueprint = Blueprint("email", __name__, url_prefix="/api/email")

QUEUE = """
    INSERT INTO emails (user_id, recipient, subject, body) VALUES (%s, %s, %s, %s)
    RETURNING id, status
"""
OUTBOX = """
    SELECT id, recipient, subject, status, created_at FROM emails WHERE user_id = %s
    ORDER BY created_at DESC, id DESC LIMIT %s OFFSET %s
"""


@blueprint.post("/send")
def send() -> ResponseReturnValue:
    """Put a mail into the queue."""
    user, values = current_user_id(), body()
    recipient = field(values, "to", str)
    if "@" not in recipient or any(c in recipient for c in "\r\n"):
        abort(422, "to must be an e-mail address.")
    subject, text = field(values, "subject", str)[:200], field(values, "body", str)[:20_000]
    return jsonify(database.fetch_one(QUEUE, (user, recipient, subject, text))), 202


@blueprint.get("/outbox")
def outbox() -> ResponseReturnValue:
    """The user's mail, newest first."""
    return jsonify(emails=database.execute_query(OUTBOX, (current_user_id(), *page())))
