"""Jobs: list, search, details, and their upkeep."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue

from .database import database
from .web import body, current_user_id, field, not_found, page

blueprint = Blueprint("jobs", __name__, url_prefix="/api/jobs")

MAX_SALARY = 10_000_000

LIST = """
    SELECT j.id, j.title, j.city, j.remote, j.salary_min, j.salary_max, j.posted_at, c.name AS company
    FROM jobs j JOIN companies c ON c.id = j.company_id
    WHERE j.status = 'open'
    ORDER BY j.posted_at DESC, j.id DESC
    LIMIT %s OFFSET %s
"""
SEARCH = """
    SELECT j.id, j.title, j.city, j.remote, j.salary_max, c.name AS company, ts_rank(j.words, q) AS rank
    FROM jobs j JOIN companies c ON c.id = j.company_id, websearch_to_tsquery('english', %(q)s) AS q
    WHERE j.words @@ q AND j.status = 'open'
      AND (%(city)s = '' OR j.city = %(city)s)
      AND j.salary_max >= %(salary)s
    ORDER BY rank DESC, j.id
    LIMIT %(limit)s OFFSET %(offset)s
"""
DETAIL = """
    SELECT j.id, j.title, j.description, j.city, j.remote, j.salary_min, j.salary_max, j.status, j.posted_at,
           c.id AS company_id, c.name AS company, c.industry,
           (SELECT count(*) FROM applications a WHERE a.job_id = j.id) AS applicants,
           ARRAY(SELECT s.name FROM job_skills js JOIN skills s ON s.id = js.skill_id
                 WHERE js.job_id = j.id ORDER BY s.name) AS skills
    FROM jobs j JOIN companies c ON c.id = j.company_id
    WHERE j.id = %s
"""
SIMILAR = """
    SELECT j.id, j.title, c.name AS company, count(*) AS shared_skills
    FROM job_skills mine
    JOIN job_skills other ON other.skill_id = mine.skill_id AND other.job_id <> mine.job_id
    JOIN jobs j ON j.id = other.job_id AND j.status = 'open'
    JOIN companies c ON c.id = j.company_id
    WHERE mine.job_id = %s
    GROUP BY j.id, c.name
    ORDER BY shared_skills DESC, j.posted_at DESC
    LIMIT 5
"""
INSERT = """
    INSERT INTO jobs (company_id, title, description, city, remote, salary_min, salary_max)
    SELECT %(company_id)s, %(title)s, %(description)s, %(city)s, %(remote)s, %(salary_min)s, %(salary_max)s
    WHERE EXISTS (SELECT FROM companies WHERE id = %(company_id)s)
    RETURNING id
"""
UPDATE = """
    UPDATE jobs SET title = %(title)s, description = %(description)s, city = %(city)s, remote = %(remote)s,
                    salary_min = %(salary_min)s, salary_max = %(salary_max)s
    WHERE id = %(id)s
    RETURNING id
"""


@blueprint.get("")
def list_jobs() -> ResponseReturnValue:
    """The newest open jobs."""
    return jsonify(jobs=database.execute_query(LIST, page()))


@blueprint.get("/search")
def search_jobs() -> ResponseReturnValue:
    """Open jobs by words, city and salary."""
    limit, offset = page()
    criteria = {
        "q": request.args.get("q", "").replace("\x00", " ")[:200],
        "city": request.args.get("city", "").replace("\x00", " "),
        "salary": request.args.get("salary", 0, type=int),
        "limit": limit,
        "offset": offset,
    }
    return jsonify(jobs=database.execute_query(SEARCH, criteria))


@blueprint.get("/<int:job_id>")
def job(job_id: int) -> ResponseReturnValue:
    """One job with its company, skills and number of applicants."""
    return jsonify(database.fetch_one(DETAIL, (job_id,)) or not_found("job"))


@blueprint.get("/<int:job_id>/similar")
def similar_jobs(job_id: int) -> ResponseReturnValue:
    """Open jobs that ask for the same skills."""
    return jsonify(jobs=database.execute_query(SIMILAR, (job_id,)))


@blueprint.post("")
def create_job() -> ResponseReturnValue:
    """Post a job."""
    current_user_id()
    values = body()
    row = database.fetch_one(INSERT, {**_fields(values), "company_id": field(values, "company_id", int)})
    return (jsonify(row), 201) if row else abort(422, "No such company.")


@blueprint.put("/<int:job_id>")
def update_job(job_id: int) -> ResponseReturnValue:
    """Change a job."""
    current_user_id()
    return jsonify(database.fetch_one(UPDATE, {**_fields(body()), "id": job_id}) or not_found("job"))


@blueprint.delete("/<int:job_id>")
def delete_job(job_id: int) -> ResponseReturnValue:
    """Close a job; it stays for those who applied."""
    current_user_id()
    row = database.fetch_one("UPDATE jobs SET status = 'closed' WHERE id = %s RETURNING id", (job_id,))
    return ("", 204) if row else not_found("job")


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    low, high = field(values, "salary_min", int), field(values, "salary_max", int)
    if not 0 <= low <= high <= MAX_SALARY:
        abort(422, "salary_min and salary_max must be 0 to 10,000,000, the lower first.")
    return {
        "title": field(values, "title", str)[:200],
        "description": field(values, "description", str)[:20_000],
        "city": field(values, "city", str)[:100],
        "remote": field(values, "remote", bool, default=False),
        "salary_min": low,
        "salary_max": high,
    }
