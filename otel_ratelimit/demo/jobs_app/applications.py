"""Applications of the signed-in user, as two class-based views."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from .database import database
from .web import body, current_user_id, field, not_found, page

blueprint = Blueprint("applications", __name__, url_prefix="/api/applications")

STATES = ("draft", "sent", "interview", "offer", "rejected", "withdrawn")

LIST = """
    SELECT a.id, a.status, a.note, a.updated_at, j.id AS job_id, j.title, c.name AS company
    FROM applications a JOIN jobs j ON j.id = a.job_id JOIN companies c ON c.id = j.company_id
    WHERE a.user_id = %s
    ORDER BY a.updated_at DESC, a.id DESC
    LIMIT %s OFFSET %s
"""
DETAIL = """
    SELECT a.id, a.status, a.note, a.created_at, a.updated_at, j.id AS job_id, j.title, c.name AS company
    FROM applications a JOIN jobs j ON j.id = a.job_id JOIN companies c ON c.id = j.company_id
    WHERE a.id = %s AND a.user_id = %s
"""
EVENTS = "SELECT kind, happened_at FROM application_events WHERE application_id = %s ORDER BY happened_at, id"
CREATE = """
    WITH created AS (
        INSERT INTO applications (user_id, job_id, note)
        SELECT %(user)s, id, %(note)s FROM jobs WHERE id = %(job)s AND status = 'open'
        ON CONFLICT (user_id, job_id) DO UPDATE SET note = excluded.note, updated_at = now()
        RETURNING id, status
    ), noted AS (
        INSERT INTO application_events (application_id, kind) SELECT id, 'saved' FROM created
    )
    SELECT id, status FROM created
"""
UPDATE = """
    WITH changed AS (
        UPDATE applications SET status = %(status)s, updated_at = now()
        WHERE id = %(id)s AND user_id = %(user)s
        RETURNING id, status
    ), noted AS (
        INSERT INTO application_events (application_id, kind) SELECT id, status FROM changed
    )
    SELECT id, status FROM changed
"""
DELETE = "DELETE FROM applications WHERE id = %s AND user_id = %s RETURNING id"


class Applications(MethodView):
    """The collection."""

    def get(self) -> ResponseReturnValue:
        """The user's applications, last changed first."""
        return jsonify(applications=database.execute_query(LIST, (current_user_id(), *page())))

    def post(self) -> ResponseReturnValue:
        """Apply for a job; applying again changes the note."""
        user, values = current_user_id(), body()
        wanted = {
            "user": user,
            "job": field(values, "job_id", int),
            "note": field(values, "note", str, default="")[:2000],
        }
        row = database.fetch_one(CREATE, wanted)
        return (jsonify(row), 201) if row else abort(422, "No such open job.")


class Application(MethodView):
    """One of them."""

    def get(self, application_id: int) -> ResponseReturnValue:
        """The application and its history."""
        row = database.fetch_one(DETAIL, (application_id, current_user_id())) or not_found("application")
        return jsonify({**row, "events": database.execute_query(EVENTS, (application_id,))})

    def put(self, application_id: int) -> ResponseReturnValue:
        """Change its status."""
        user, status = current_user_id(), field(body(), "status", str)
        if status not in STATES:
            abort(422, f"status must be one of {', '.join(STATES)}.")
        changed = database.fetch_one(UPDATE, {"id": application_id, "user": user, "status": status})
        return jsonify(changed or not_found("application"))

    def delete(self, application_id: int) -> ResponseReturnValue:
        """Forget it."""
        row = database.fetch_one(DELETE, (application_id, current_user_id()))
        return ("", 204) if row else not_found("application")


blueprint.add_url_rule("", view_func=Applications.as_view("applications"))
blueprint.add_url_rule("/<int:application_id>", view_func=Application.as_view("application"))
