"""Reading job postings from career pages that the crawler fetched."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from .career_page import Posting, postings
from .database import Row, database
from .web import body, current_user_id, field, not_found

blueprint = Blueprint("scraping", __name__, url_prefix="/api")

PAGE = "SELECT company_id, slug, html FROM career_pages WHERE slug = %s"
KEEP = """
    INSERT INTO jobs (company_id, title, description, city, salary_min, salary_max, source, external_id)
    VALUES (%s, %s, %s, %s, %s, %s, 'scraped', %s)
    ON CONFLICT (source, external_id) DO UPDATE SET title = excluded.title, description = excluded.description
    RETURNING id, (xmax = 0) AS is_new
"""


@blueprint.post("/scrape")
def scrape() -> ResponseReturnValue:
    """Take over every posting of a career page."""
    current_user_id()
    page = _page()
    return _keep(page, postings(page["html"]))


@blueprint.post("/intelligent-scrape")
def intelligent_scrape() -> ResponseReturnValue:
    """Take over only the postings that name one of the keywords."""
    current_user_id()
    page = _page()
    keywords = [str(word).lower() for word in field(body(), "keywords", list)][:20]
    found = [p for p in postings(page["html"]) if any(word in p.text.lower() for word in keywords)]
    return _keep(page, found)


def _page() -> Row:
    return database.fetch_one(PAGE, (field(body(), "page", str),)) or not_found("career page")


def _keep(page: Row, found: list[Posting]) -> ResponseReturnValue:
    kept = [
        database.fetch_one(
            KEEP,
            (
                page["company_id"],
                posting.title,
                posting.text,
                posting.city,
                posting.salary,
                posting.salary,
                f"{page['slug']}/{posting.reference}",
            ),
        )
        for posting in found
    ]
    ids = [row["id"] for row in kept if row]
    return jsonify(found=len(found), new=sum(bool(row and row["is_new"]) for row in kept), job_ids=ids)
