"""The role that dashboards read with, made by collector/postgres/reader.sql."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg2
import pytest

SCRIPT = Path(__file__).parents[2] / "collector" / "postgres" / "reader.sql"
PASSWORD = 'it\'s "quoted"'


@pytest.fixture
def make_reader(installed):
    """`make_reader(url)`: run the script on a database."""
    psql = installed("psql", "postgresql-client")
    return lambda url: run_script(psql, url)


def run_script(psql: str, url: str) -> None:
    subprocess.run(
        [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={SCRIPT}", url],
        env={**os.environ, "POSTGRES_READER_PASSWORD": PASSWORD},
        check=True,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def reader(make_reader, database):
    make_reader(database)
    connection = psycopg2.connect(database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE otel_ratelimit_reader")
        yield cursor
    connection.close()
    owner = psycopg2.connect(database)
    with owner, owner.cursor() as cursor:
        cursor.execute("DROP OWNED BY otel_ratelimit_reader; DROP ROLE otel_ratelimit_reader")
    owner.close()


def test_it_reads_what_dashboards_show(reader):
    for table in ("query_logs", "rate_limit_usage", "rate_limit_analytics", "cache_analysis_latest"):
        reader.execute(f"SELECT count(*) FROM otel_ratelimit.{table}")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM otel_ratelimit.hash_keys",
        "DELETE FROM otel_ratelimit.query_logs",
        "INSERT INTO otel_ratelimit.query_templates DEFAULT VALUES",
        "CREATE TABLE otel_ratelimit.mine ()",
    ],
)
def test_it_neither_reads_the_secret_nor_writes(reader, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader.execute(statement)


def test_the_script_may_run_again(reader, make_reader, database):
    make_reader(database)


def test_its_password_is_kept_as_a_verifier_only(reader, database):
    owner = psycopg2.connect(database)
    with owner, owner.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'otel_ratelimit_reader'")
        [verifier] = cursor.fetchone()
    owner.close()
    assert verifier.startswith("SCRAM-SHA-256$")
