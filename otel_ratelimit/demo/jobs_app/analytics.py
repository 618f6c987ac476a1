"""Figures over the whole board."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from .database import database

blueprint = Blueprint("analytics", __name__, url_prefix="/api/analytics")

SALARIES = """
    SELECT c.industry, count(*) AS jobs,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY (j.salary_min + j.salary_max) / 2.0) AS median_salary
    FROM jobs j JOIN companies c ON c.id = j.company_id
    WHERE j.status = 'open'
    GROUP BY c.industry ORDER BY median_salary DESC
"""
SKILLS = """
    SELECT s.name, count(*) AS jobs
    FROM job_skills js
    JOIN skills s ON s.id = js.skill_id
    JOIN jobs j ON j.id = js.job_id AND j.status = 'open'
    GROUP BY s.name ORDER BY jobs DESC, s.name LIMIT 15
"""
FUNNEL = """
    SELECT status, count(*) AS applications,
           round(100.0 * count(*) / sum(count(*)) OVER (), 1)::float AS percent
    FROM applications GROUP BY status ORDER BY applications DESC
"""


@blueprint.get("/salaries")
def salaries() -> ResponseReturnValue:
    """Median salary by industry."""
    return jsonify(industries=database.execute_query(SALARIES))


@blueprint.get("/skills")
def skills() -> ResponseReturnValue:
    """The skills most asked for."""
    return jsonify(skills=database.execute_query(SKILLS))


@blueprint.get("/funnel")
def funnel() -> ResponseReturnValue:
    """How many applications have each status."""
    return jsonify(statuses=database.execute_query(FUNNEL))
