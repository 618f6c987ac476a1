"""Companies and what they offer."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from .database import database
from .web import not_found, page

blueprint = Blueprint("companies", __name__, url_prefix="/api/companies")

LIST = """
    SELECT c.id, c.name, c.industry, c.city, c.size, count(j.id) AS open_jobs
    FROM companies c LEFT JOIN jobs j ON j.company_id = c.id AND j.status = 'open'
    GROUP BY c.id
    ORDER BY c.name
    LIMIT %s OFFSET %s
"""
JOBS = """
    SELECT id, title, city, remote, salary_min, salary_max, posted_at
    FROM jobs WHERE company_id = %s AND status = 'open'
    ORDER BY posted_at DESC
"""


@blueprint.get("")
def list_companies() -> ResponseReturnValue:
    """Companies by name, with their number of open jobs."""
    return jsonify(companies=database.execute_query(LIST, page()))


@blueprint.get("/<int:company_id>")
def company(company_id: int) -> ResponseReturnValue:
    """One company and its open jobs."""
    row = database.fetch_one("SELECT * FROM companies WHERE id = %s", (company_id,)) or not_found("company")
    return jsonify({**row, "jobs": database.execute_query(JOBS, (company_id,))})
