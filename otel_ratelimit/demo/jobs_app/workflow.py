"""An application step by step: from saving a job to sending a letter."""

from __future__ import annotations

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue

from .database import database
from .web import body, current_user_id, field, not_found

blueprint = Blueprint("workflow", __name__, url_prefix="/api/workflow")

STEPS = ("saved", "analysed", "letter", "sent")

START = """
    INSERT INTO workflows (user_id, job_id, step) SELECT %s, id, 'saved' FROM jobs WHERE id = %s
    RETURNING id, step
"""
DETAIL = """
    SELECT w.id, w.step, w.updated_at, j.id AS job_id, j.title
    FROM workflows w JOIN jobs j ON j.id = w.job_id WHERE w.id = %s AND w.user_id = %s
"""
# The step it was at is part of the condition: two requests at once advance it once.
ADVANCE = """
    UPDATE workflows SET step = %s, updated_at = now() WHERE id = %s AND user_id = %s AND step = %s
    RETURNING id, step
"""


@blueprint.post("")
def start() -> ResponseReturnValue:
    """Start with a job."""
    user = current_user_id()
    row = database.fetch_one(START, (user, field(body(), "job_id", int)))
    return (jsonify(row), 201) if row else not_found("job")


@blueprint.get("/<int:workflow_id>")
def workflow(workflow_id: int) -> ResponseReturnValue:
    """Its current step."""
    row = database.fetch_one(DETAIL, (workflow_id, current_user_id()))
    return jsonify(row or not_found("workflow"))


@blueprint.post("/<int:workflow_id>/advance")
def advance(workflow_id: int) -> ResponseReturnValue:
    """Go on to the next step."""
    user = current_user_id()
    at = (database.fetch_one(DETAIL, (workflow_id, user)) or not_found("workflow"))["step"]
    if at == STEPS[-1]:
        abort(409, "It is finished.")
    following = STEPS[STEPS.index(at) + 1]
    row = database.fetch_one(ADVANCE, (following, workflow_id, user, at))
    return jsonify(row) if row else abort(409, "Another request has advanced it meanwhile.")
