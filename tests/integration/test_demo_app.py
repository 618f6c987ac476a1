"""The demo's application alone, on a real PostgreSQL: it works, and it knows nothing of us."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from components import wheel_postgres

from otel_ratelimit.demo.jobs_app import seed
from otel_ratelimit.demo.jobs_app.app import create_app
from otel_ratelimit.demo.jobs_app.career_page import postings
from otel_ratelimit.demo.jobs_app.database import database
from otel_ratelimit.demo.jobs_app.matching import Vocabulary, score
from otel_ratelimit.demo.workspace import workspace
from otel_ratelimit.postgres.embedded import THROW_AWAY, EmbeddedPostgres

SOURCE = Path(seed.__file__).parent

JOB = {
    "company_id": 1,
    "title": "Tester",
    "description": "Tests. Knows python.",
    "city": "Oslo",
    "salary_min": 1,
    "salary_max": 2,
}
# In an order in which each finds what it needs.
REQUESTS = [
    ("GET", "/", "/", None, 200),
    ("GET", "/health", "/health", None, 200),
    ("POST", "/login", "/login", {"email": seed.email_of(1), "password": seed.PASSWORD}, 200),
    ("GET", "/me", "/me", None, 200),
    ("GET", "/api/jobs", "/api/jobs?limit=3&offset=2", None, 200),
    ("GET", "/api/jobs/search", "/api/jobs/search?q=python&salary=50000", None, 200),
    ("GET", "/api/jobs/<int:job_id>", "/api/jobs/7", None, 200),
    ("GET", "/api/jobs/<int:job_id>/similar", "/api/jobs/7/similar", None, 200),
    ("POST", "/api/jobs", "/api/jobs", JOB, 201),
    ("PUT", "/api/jobs/<int:job_id>", "/api/jobs/7", JOB, 200),
    ("GET", "/api/companies", "/api/companies", None, 200),
    ("GET", "/api/companies/<int:company_id>", "/api/companies/1", None, 200),
    ("GET", "/api/applications", "/api/applications", None, 200),
    ("POST", "/api/applications", "/api/applications", {"job_id": 8}, 201),
    ("GET", "/api/applications/<int:application_id>", "/api/applications/1", None, 200),
    ("PUT", "/api/applications/<int:application_id>", "/api/applications/1", {"status": "offer"}, 200),
    ("DELETE", "/api/applications/<int:application_id>", "/api/applications/1", None, 204),
    ("POST", "/api/ai/analyze-jobs", "/api/ai/analyze-jobs", {"job_ids": [1, 2, 3]}, 201),
    ("POST", "/api/ai/batch-analyze", "/api/ai/batch-analyze", {"count": 50}, 201),
    ("GET", "/api/ai/analysis-results/<int:analysis_id>", "/api/ai/analysis-results/1", None, 200),
    ("POST", "/api/scrape", "/api/scrape", {"page": "page-1"}, 200),
    (
        "POST",
        "/api/intelligent-scrape",
        "/api/intelligent-scrape",
        {"page": "page-2", "keywords": ["sql"]},
        200,
    ),
    ("GET", "/api/documents", "/api/documents", None, 200),
    ("POST", "/api/documents", "/api/documents", {"kind": "cv", "title": "CV", "body": "python"}, 201),
    ("GET", "/api/documents/<int:document_id>", "/api/documents/1", None, 200),
    ("DELETE", "/api/documents/<int:document_id>", "/api/documents/1", None, 204),
    ("POST", "/api/documents/generate", "/api/documents/generate", {"job_id": 3}, 201),
    ("POST", "/api/email/send", "/api/email/send", {"to": "a@example.org", "subject": "s", "body": "b"}, 202),
    ("GET", "/api/email/outbox", "/api/email/outbox", None, 200),
    ("POST", "/api/workflow", "/api/workflow", {"job_id": 3}, 201),
    ("GET", "/api/workflow/<int:workflow_id>", "/api/workflow/1", None, 200),
    ("POST", "/api/workflow/<int:workflow_id>/advance", "/api/workflow/1/advance", None, 200),
    ("GET", "/api/dashboard", "/api/dashboard", None, 200),
    ("GET", "/api/dashboard/stats", "/api/dashboard/stats", None, 200),
    ("GET", "/api/analytics/salaries", "/api/analytics/salaries", None, 200),
    ("GET", "/api/analytics/skills", "/api/analytics/skills", None, 200),
    ("GET", "/api/analytics/funnel", "/api/analytics/funnel", None, 200),
    ("DELETE", "/api/jobs/<int:job_id>", "/api/jobs/7", None, 204),
    ("POST", "/logout", "/logout", None, 204),
]


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    wheel_postgres()
    with workspace(Path("/tmp")) as scratch:
        settings = {**THROW_AWAY, "shared_preload_libraries": "pg_stat_statements"}
        postgres = EmbeddedPostgres(scratch / "data", scratch, environ=os.environ, settings=settings)
        try:
            postgres.start()
            postgres.create_database("jobs", seed.load)
            yield postgres.dsn("jobs")
        finally:
            postgres.stop()


@pytest.fixture
def app(dsn, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", dsn)
    yield create_app()
    database.close()


def test_every_route_answers(app):
    client = app.test_client()
    for method, _, path, body, expected in REQUESTS:
        response = client.open(path, method=method, json=body)
        assert response.status_code == expected, (method, path, response.text)


def test_the_requests_above_cover_every_route(app):
    routes = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {(method, rule) for method, rule, *_ in REQUESTS} == routes
    assert len(routes) >= 25


@pytest.mark.parametrize(
    "body", [None, [], {}, "text", {"job_ids": ["x"], "job_id": "1", "page": 7, "to": "a\r\nb"}]
)
def test_bad_input_is_never_a_server_error(app, body):
    client = app.test_client()
    client.post("/login", json={"email": seed.email_of(2), "password": seed.PASSWORD})
    for method, _, path, _, _ in REQUESTS:
        if path not in ("/logout", "/login"):
            response = client.open(path.partition("?")[0], method=method, json=body)
            assert response.status_code < 500, (method, path, response.text)


def test_figures_out_of_range_are_the_clients_mistake(app):
    client = app.test_client()
    client.post("/login", json={"email": seed.email_of(2), "password": seed.PASSWORD})
    assert client.get("/api/jobs/99999999999999999999").status_code == 404
    assert client.post("/api/ai/analyze-jobs", json={"job_ids": [2**70]}).status_code == 422
    assert client.get("/api/jobs?offset=99999999999999999999&limit=-1").status_code == 200
    assert client.post("/api/scrape", json={"page": "\x00"}).status_code == 422
    half = client.post("/api/documents", data='{"kind": "cv", "title": "\\ud800", "body": ""}')
    assert half.status_code == 422
    assert client.get("/api/jobs/search?q=%00&city=%00&salary=x").status_code == 200


def test_without_signing_in_personal_data_stay_private(app):
    client = app.test_client()
    for path in ("/me", "/api/applications", "/api/documents", "/api/documents/1", "/api/email/outbox"):
        response = client.get(path)
        assert response.status_code == 401
        assert response.json["error"] == "Unauthorized"


def test_one_user_does_not_see_anothers(app):
    client = app.test_client()
    client.post("/login", json={"email": seed.email_of(3), "password": seed.PASSWORD})
    assert client.get("/api/documents/3").status_code == 200
    assert client.get("/api/documents/4").status_code == 404


def test_a_wrong_password_signs_nobody_in(app):
    client = app.test_client()
    assert client.post("/login", json={"email": seed.email_of(1), "password": "x"}).status_code == 401
    assert client.get("/me").status_code == 401


def test_a_page_scraped_twice_adds_its_postings_once(app):
    client = app.test_client()
    client.post("/login", json={"email": seed.email_of(4), "password": seed.PASSWORD})
    first = client.post("/api/scrape", json={"page": "page-9"}).json
    again = client.post("/api/scrape", json={"page": "page-9"}).json
    assert first["new"] == first["found"] > 0
    assert again["new"] == 0
    assert again["job_ids"] == first["job_ids"]


def test_the_search_uses_its_index(dsn):
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("EXPLAIN SELECT 1 FROM jobs WHERE words @@ websearch_to_tsquery('english', 'python')")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    connection.close()
    assert "jobs_words" in plan


def test_the_embedded_postgres_can_count_statements(dsn):
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        cursor.execute("SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'CREATE EXTENSION%'")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_the_application_imports_nothing_of_ours():
    allowed = sys.stdlib_module_names | {"flask", "werkzeug", "psycopg2"}
    for file in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name.split(".")[0] for name in node.names} <= allowed, file
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in allowed, file
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, file


def test_the_application_has_no_word_about_limits():
    for file in (*SOURCE.glob("*.py"), SOURCE / "schema.sql"):
        found = re.search(r"otel|rate.?limit|limiter|throttl|quota|\b429\b", file.read_text(), re.IGNORECASE)
        assert found is None, (file, found)


def test_the_sample_data_are_the_same_every_time():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert seed.generate(now, "hash") == seed.generate(now, "hash")


def test_sample_users_have_addresses_of_their_own():
    assert len({seed.email_of(number) for number in range(1, seed.USERS + 1)}) == seed.USERS


def test_a_job_that_asks_for_what_the_cv_names_fits_better():
    vocabulary = Vocabulary({"python": 50, "rust": 5, "sql": 80})
    cv = "I know rust and sql."
    good, poor = score(cv, "We need rust and sql", vocabulary), score(cv, "We need python", vocabulary)
    assert good["score"] > poor["score"]
    assert good["matched"] == ["rust", "sql"]
    assert poor["missing"] == ["python"]


def test_postings_are_read_in_their_order():
    html = (
        '<h2>not one</h2><article data-reference="R1" data-city="Oslo" data-salary="5"><h2>A <b>B</b></h2>'
        "<p>text &amp; more</p></article><article><h2>C</h2></article>"
    )
    first, second = postings(html)
    assert (first.reference, first.city, first.salary, first.title, first.text) == (
        "R1",
        "Oslo",
        5,
        "A B",
        "text & more",
    )
    assert (second.title, second.salary) == ("C", 0)
