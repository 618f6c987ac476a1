"""How well jobs fit the signed-in user's CV."""

from __future__ import annotations

import json

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue

from .database import Row, database
from .matching import Vocabulary, score
from .web import body, current_user_id, field, not_found

blueprint = Blueprint("ai", __name__, url_prefix="/api/ai")

MAX_JOBS = 20
MAX_JOBS_IN_BATCH = 200

CV = """
    SELECT body FROM documents WHERE user_id = %s AND kind = 'cv' ORDER BY updated_at DESC LIMIT 1
"""
JOBS = "SELECT id, title, description FROM jobs WHERE id = ANY(%s) ORDER BY id"
OPEN_JOBS = """
    SELECT id, title, description FROM jobs WHERE status = 'open' ORDER BY posted_at DESC, id DESC LIMIT %s
"""
SKILL_FREQUENCIES = """
    SELECT s.name, count(*) AS jobs FROM skills s JOIN job_skills js ON js.skill_id = s.id GROUP BY s.name
"""
STORE = "INSERT INTO analyses (user_id, job_ids, result) VALUES (%s, %s, %s) RETURNING id"


@blueprint.post("/analyze-jobs")
def analyze_jobs() -> ResponseReturnValue:
    """Compare up to twenty jobs with the CV; the result is kept."""
    user = current_user_id()
    ids = field(body(), "job_ids", list)
    if not ids or len(ids) > MAX_JOBS or not all(type(i) is int for i in ids):
        abort(422, f"job_ids must be 1 to {MAX_JOBS} numbers.")
    jobs = database.execute_query(JOBS, (ids,))
    return _analyse(user, jobs) if jobs else abort(422, "None of these jobs exists.")


@blueprint.post("/batch-analyze")
def batch_analyze() -> ResponseReturnValue:
    """Compare the newest open jobs with the CV."""
    user = current_user_id()
    count = max(1, min(field(body(), "count", int, default=100), MAX_JOBS_IN_BATCH))
    return _analyse(user, database.execute_query(OPEN_JOBS, (count,)))


@blueprint.get("/analysis-results/<int:analysis_id>")
def analysis_result(analysis_id: int) -> ResponseReturnValue:
    """A kept result."""
    row = database.fetch_one(
        "SELECT id, job_ids, result, created_at FROM analyses WHERE id = %s AND user_id = %s",
        (analysis_id, current_user_id()),
    )
    return jsonify(row or not_found("analysis"))


def _analyse(user: int, jobs: list[Row]) -> ResponseReturnValue:
    cv = database.fetch_one(CV, (user,)) or abort(422, "There is no CV yet: POST /api/documents.")
    vocabulary = Vocabulary({row["name"]: row["jobs"] for row in database.execute_query(SKILL_FREQUENCIES)})
    fits = [
        {"job_id": job["id"], **score(cv["body"], f"{job['title']} {job['description']}", vocabulary)}
        for job in jobs
    ]
    fits.sort(key=lambda fit: -fit["score"])
    ids = [job["id"] for job in jobs]
    row = database.fetch_one(STORE, (user, ids, json.dumps({"fits": fits})))
    return jsonify(id=row["id"] if row else None, fits=fits[:MAX_JOBS]), 201
