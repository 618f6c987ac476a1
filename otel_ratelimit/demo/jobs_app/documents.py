"""CVs and letters of the signed-in user."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue

from .database import database
from .letters import cover_letter
from .web import body, current_user_id, field, not_found

blueprint = Blueprint("documents", __name__, url_prefix="/api/documents")

FOR_LETTER = """
    SELECT u.name, u.headline, j.title, j.description, c.name AS company
    FROM users u, jobs j JOIN companies c ON c.id = j.company_id
    WHERE u.id = %s AND j.id = %s
"""
INSERT = """
    INSERT INTO documents (user_id, kind, title, body) VALUES (%s, %s, %s, %s)
    RETURNING id, kind, title
"""


@blueprint.get("")
def list_documents() -> ResponseReturnValue:
    """The user's documents, without their text."""
    rows = database.execute_query(
        "SELECT id, kind, title, length(body) AS length, updated_at FROM documents"
        " WHERE user_id = %s ORDER BY updated_at DESC LIMIT 100",
        (current_user_id(),),
    )
    return jsonify(documents=rows)


@blueprint.post("")
def create_document() -> ResponseReturnValue:
    """Add a document."""
    user, values = current_user_id(), body()
    kind = field(values, "kind", str)
    if kind not in ("cv", "letter"):
        abort(422, "kind must be cv or letter.")
    text = field(values, "body", str)[:50_000]
    return jsonify(database.fetch_one(INSERT, (user, kind, field(values, "title", str)[:200], text))), 201


@blueprint.get("/<int:document_id>")
def document(document_id: int) -> ResponseReturnValue:
    """One document with its text."""
    row = database.fetch_one(
        "SELECT id, kind, title, body, updated_at FROM documents WHERE id = %s AND user_id = %s",
        (document_id, current_user_id()),
    )
    return jsonify(row or not_found("document"))


@blueprint.delete("/<int:document_id>")
def delete_document(document_id: int) -> ResponseReturnValue:
    """Remove a document."""
    row = database.fetch_one(
        "DELETE FROM documents WHERE id = %s AND user_id = %s RETURNING id", (document_id, current_user_id())
    )
    return ("", 204) if row else not_found("document")


@blueprint.post("/generate")
def generate_letter() -> ResponseReturnValue:
    """Write a covering letter for a job and keep it."""
    user = current_user_id()
    facts = database.fetch_one(FOR_LETTER, (user, field(body(), "job_id", int))) or not_found("job")
    text = cover_letter(**facts)
    row = database.fetch_one(INSERT, (user, "letter", f"Letter to {facts['company']}", text))
    return jsonify({**(row or {}), "body": text}), 201
