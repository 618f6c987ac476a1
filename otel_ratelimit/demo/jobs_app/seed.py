"""Sample data, the same every time: `python -m jobs_app.seed` fills the database at DATABASE_URL."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import psycopg2
from psycopg2.extras import execute_values
from werkzeug.security import generate_password_hash

Row: TypeAlias = tuple[Any, ...]

USERS = 24
COMPANIES = 40
JOBS = 600
PASSWORD = "open-sesame"  # noqa: S105 - sample users, published here
SHARE_REMOTE = 0.4
SEED = 20_240_501
"""Seed of the generator; another one gives other data."""

SKILLS = (
    "python", "go", "rust", "java", "typescript", "sql", "postgresql", "redis", "kafka", "docker",
    "kubernetes", "terraform", "linux", "react", "django", "flask", "pandas", "spark", "airflow", "grafana",
    "opentelemetry", "security", "accessibility", "figma", "copywriting", "negotiation", "accounting",
    "german", "french", "spanish",
)  # fmt: skip
INDUSTRIES = ("software", "logistics", "health", "energy", "education", "retail", "finance", "public sector")
CITIES = ("Berlin", "Vienna", "Zurich", "Hamburg", "Munich", "Lyon", "Madrid", "Ghent", "Turin", "Oslo")
ROLES = (
    "Backend Engineer", "Frontend Engineer", "Data Engineer", "Site Reliability Engineer", "Product Designer",
    "Technical Writer", "Security Analyst", "Data Analyst", "Engineering Manager", "Support Engineer",
)  # fmt: skip
FIRST = (
    "Ada",
    "Alan",
    "Barbara",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ken",
    "Lynn",
    "Margaret",
    "Niklaus",
    "Radia",
)
LAST = ("Aalto", "Brunner", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Huber")
NAMES = ("Alder", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Juniper", "Larch", "Maple", "Rowan")
SUFFIXES = ("Works", "Systems", "Group", "Labs")


INSERTS = (
    "INSERT INTO users (id, email, name, headline, password_hash) VALUES %s",
    "INSERT INTO companies (id, name, industry, city, size) VALUES %s",
    "INSERT INTO skills (id, name) VALUES %s",
    """INSERT INTO jobs (id, company_id, title, description, city, remote, salary_min, salary_max, posted_at)
       VALUES %s""",
    "INSERT INTO job_skills (job_id, skill_id) VALUES %s",
    "INSERT INTO applications (id, user_id, job_id, status, created_at, updated_at) VALUES %s",
    "INSERT INTO application_events (application_id, kind, happened_at) VALUES %s",
    "INSERT INTO documents (user_id, kind, title, body) VALUES %s",
    "INSERT INTO career_pages (company_id, slug, html) VALUES %s",
)
"""In the order of `Data`'s fields."""
NUMBERED = ("users", "companies", "skills", "jobs", "applications")
"""Tables whose sample rows bring their own numbers: new rows are numbered from a million."""


@dataclass(frozen=True)
class Data:
    """The rows, by table."""

    users: list[Row]
    companies: list[Row]
    skills: list[Row]
    jobs: list[Row]
    job_skills: list[Row]
    applications: list[Row]
    events: list[Row]
    documents: list[Row]
    career_pages: list[Row]


def email_of(number: int) -> str:
    """Address of sample user `number`, counted from 1."""
    first, last = FIRST[(number - 1) % len(FIRST)], LAST[(number - 1) // len(FIRST) % len(LAST)]
    return f"{first}.{last}@example.org".lower()


def generate(now: datetime, password_hash: str) -> Data:
    """All rows; equal arguments give equal rows."""
    rng = random.Random(SEED)
    users = [
        (
            n,
            email_of(n),
            email_of(n).partition("@")[0].replace(".", " ").title(),
            rng.choice(ROLES),
            password_hash,
        )
        for n in range(1, USERS + 1)
    ]
    companies = [
        (
            n,
            f"{NAMES[(n - 1) % len(NAMES)]} {SUFFIXES[(n - 1) // len(NAMES)]}",
            rng.choice(INDUSTRIES),
            rng.choice(CITIES),
            rng.choice((12, 40, 180, 900, 4000)),
        )
        for n in range(1, COMPANIES + 1)
    ]
    jobs, job_skills = _jobs(rng, companies, now)
    applications, events = _applications(rng, now)
    documents = [(n, "cv", "CV", _cv(rng, user[2], user[3])) for n, user in enumerate(users, start=1)]
    pages = [(company[0], f"page-{company[0]}", _career_page(rng, company)) for company in companies]
    skills = list(enumerate(SKILLS, start=1))
    return Data(users, companies, skills, jobs, job_skills, applications, events, documents, pages)


def load(dsn: str, now: datetime | None = None) -> None:
    """Create the tables in an empty database and fill them."""
    data = generate(now or datetime.now(UTC), generate_password_hash(PASSWORD))
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute((Path(__file__).parent / "schema.sql").read_text(encoding="utf-8"))
            for insert, table in zip(INSERTS, fields(data), strict=True):
                execute_values(cursor, insert, getattr(data, table.name), page_size=1000)
            for table_name in NUMBERED:
                cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", (table_name,))
                cursor.execute("SELECT setval(%s, 1000000)", cursor.fetchone())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    finally:
        connection.close()


def _jobs(rng: random.Random, companies: list[Row], now: datetime) -> tuple[list[Row], list[Row]]:
    jobs: list[Row] = []
    job_skills: list[Row] = []
    for n in range(1, JOBS + 1):
        company, role = rng.choice(companies), rng.choice(ROLES)
        wanted = sorted(rng.sample(range(len(SKILLS)), rng.randint(3, 7)))
        named = ", ".join(SKILLS[i] for i in wanted)
        low = rng.randrange(38_000, 90_000, 1000)
        description = (
            f"{company[1]} is looking for a {role} who knows {named}. The team of {rng.randint(3, 14)}"
            f" works on {company[2]} products for customers in {rng.choice(CITIES)} and beyond. You will"
            f" write, review and run what you build, and speak with the people who use it."
        )
        posted = now - timedelta(minutes=rng.randrange(60 * 24 * 60))
        high = low + rng.randrange(5000, 30_000, 1000)
        jobs.append(
            (
                n,
                company[0],
                role,
                description,
                rng.choice(CITIES),
                rng.random() < SHARE_REMOTE,
                low,
                high,
                posted,
            )
        )
        job_skills.extend((n, i + 1) for i in wanted)
    return jobs, job_skills


def _applications(rng: random.Random, now: datetime) -> tuple[list[Row], list[Row]]:
    applications: list[Row] = []
    events: list[Row] = []
    for user in range(1, USERS + 1):
        for job in rng.sample(range(1, JOBS + 1), rng.randint(8, 40)):
            number = len(applications) + 1
            status = rng.choices(("draft", "sent", "interview", "offer", "rejected"), (3, 6, 2, 1, 3))[0]
            created = now - timedelta(minutes=rng.randrange(30 * 24 * 60))
            applications.append((number, user, job, status, created, created))
            events.append((number, "saved", created))
            if status != "draft":
                events.append((number, status, created + timedelta(hours=1)))
    return applications, events


def _cv(rng: random.Random, name: str, headline: str) -> str:
    known = ", ".join(rng.sample(SKILLS, 9))
    return (
        f"{name}, {headline}, {rng.randint(2, 20)} years of experience. Skills: {known}."
        " Has built and run services used by many people, and written about them."
    )


def _career_page(rng: random.Random, company: Row) -> str:
    articles = "".join(
        f'<article data-reference="R{n}" data-city="{rng.choice(CITIES)}"'
        f' data-salary="{rng.randrange(40_000, 95_000, 1000)}"><h2>{rng.choice(ROLES)}</h2>'
        f"<p>We need someone who knows {', '.join(rng.sample(SKILLS, 4))}.</p></article>"
        for n in range(1, rng.randint(3, 6))
    )
    return f"<html><body><h1>Work at {escape(company[1])}</h1>{articles}</body></html>"


if __name__ == "__main__":
    load(os.environ["DATABASE_URL"])
