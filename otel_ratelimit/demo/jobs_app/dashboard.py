"""The signed-in user's start page."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from .database import database
from .web import current_user_id

blueprint = Blueprint("dashboard", __name__, url_prefix="/api/dashboard")

RECENT = (
    "SELECT id, job_id, status FROM applications WHERE user_id = %s ORDER BY updated_at DESC, id DESC LIMIT 8"
)
JOB = "SELECT j.title, c.name AS company FROM jobs j JOIN companies c ON c.id = j.company_id WHERE j.id = %s"
LAST_EVENT = """
    SELECT kind, happened_at FROM application_events WHERE application_id = %s
    ORDER BY happened_at DESC, id DESC LIMIT 1
"""
COUNTS = """
    SELECT status, count(*) AS applications FROM applications WHERE user_id = %s
    GROUP BY status ORDER BY status
"""
NEW_JOBS = (
    "SELECT count(*) AS new_jobs FROM jobs WHERE status = 'open' AND posted_at > now() - interval '7 days'"
)


@blueprint.get("")
def dashboard() -> ResponseReturnValue:
    """The last applications with their jobs and last events."""
    recent = database.execute_query(RECENT, (current_user_id(),))
    for application in recent:
        application["job"] = database.fetch_one(JOB, (application["job_id"],))
        application["last_event"] = database.fetch_one(LAST_EVENT, (application["id"],))
    return jsonify(recent=recent)


@blueprint.get("/stats")
def stats() -> ResponseReturnValue:
    """Applications by status, and how many jobs are new."""
    counts = database.execute_query(COUNTS, (current_user_id(),))
    return jsonify(applications=counts, **(database.fetch_one(NEW_JOBS) or {}))
