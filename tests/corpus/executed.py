"""Runs PostgreSQL's regression tests with psql, and reads what the server says it executed.

The server's log in CSV has every statement with the id of its query (`compute_query_id`). Whether a test's
answers are as expected does not matter here. Without the library that the tests in C need some statements
fail; of those the log has no duration.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from differences import Executed

from otel_ratelimit.postgres.embedded import THROW_AWAY, EmbeddedPostgres

LOGGED = re.compile(r"duration: [\d.]+ ms  statement: (.*)", re.DOTALL)
DATABASE, SESSION, MESSAGE, QUERY_ID = 2, 3, 13, 25
"""Columns of the log."""
AS_PG_REGRESS_SETS_IT = {
    "PGTZ": "PST8PDT",
    "PGDATESTYLE": "Postgres, MDY",
    "PGOPTIONS": "-c intervalstyle=postgres_verbose",
    "PG_LIBDIR": "/nonexistent",
    "PG_DLSUFFIX": ".so",
}
SECONDS_A_FILE = 60


def executed(
    corpus: Path, suites: Mapping[str, list[Path]], binaries: Path, scratch: Path
) -> dict[str, list[Executed]]:
    """The statements that the files of each suite ran, in order; each has a database of its own name.

    Args:
        corpus: what fetch.py got.
        suites: by name, files in `corpus`.
        binaries: the folder with `postgres` and `initdb`.
        scratch: a folder that the server's user may enter.
    """
    copy = scratch / "corpus"
    shutil.copytree(corpus, copy)
    log = scratch / "data" / "log"
    settings = {
        "compute_query_id": "on",
        "log_min_duration_statement": "0",
        "logging_collector": "on",
        "log_destination": "csvlog",
        "log_directory": str(log),
        "log_filename": "all.log",
        "log_rotation_age": "0",
        "log_rotation_size": "0",
        "statement_timeout": "20s",
    }
    server = EmbeddedPostgres(
        scratch / "data",
        scratch,
        environ=os.environ,
        settings={**THROW_AWAY, **settings},
        binaries=binaries,
    )
    server.start()
    try:
        for name, files in suites.items():
            _psql(server.dsn(), "--command", f'CREATE DATABASE "{name}" TEMPLATE template0')
            for file in files:
                path = copy / file.relative_to(corpus) if file.is_relative_to(corpus) else file
                _psql(server.dsn(name), "--file", str(path), folder=path.parents[1])
    finally:
        server.stop()
    found: defaultdict[str, list[Executed]] = defaultdict(list)
    for name, statement in _read(log / "all.csv"):
        found[name].append(statement)
    return {name: found[name] for name in suites}


def regression(corpus: Path) -> dict[str, list[Path]]:
    """PostgreSQL's own tests, in the order of their schedule."""
    names: list[str] = []
    for line in (corpus / "regress" / "parallel_schedule").read_text(encoding="utf-8").splitlines():
        if line.startswith("test:"):
            names += line.removeprefix("test:").split()
    return {"regression": [corpus / "regress" / "sql" / f"{name}.sql" for name in names]}


def extensions(corpus: Path) -> dict[str, list[Path]]:
    """Those of the extensions, each on its own, in the order that its Makefile gives."""
    suites: dict[str, list[Path]] = {}
    for makefile in sorted(corpus.glob("contrib/*/Makefile")):
        text = makefile.read_text(encoding="utf-8").replace("\\\n", " ")
        names = " ".join(re.findall(r"^REGRESS\s*\+?=(.*)$", text, re.MULTILINE)).split()
        files = [makefile.parent / "sql" / f"{name}.sql" for name in names]
        if present := [file for file in files if file.exists()]:
            suites[makefile.parent.name] = present
    return suites


def _psql(url: str, *arguments: str, folder: Path | None = None) -> None:
    paths = {"PG_ABS_SRCDIR": str(folder), "PG_ABS_BUILDDIR": str(folder)} if folder else {}
    subprocess.run(
        ["psql", "--no-psqlrc", "--quiet", *arguments, url],
        check=False,
        cwd=folder,
        env={**os.environ, **AS_PG_REGRESS_SETS_IT, **paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=SECONDS_A_FILE,
    )


def _read(log: Path) -> Iterator[tuple[str, Executed]]:
    csv.field_size_limit(2**31 - 1)
    with log.open(newline="", encoding="utf-8", errors="replace") as lines:
        for row in csv.reader(lines):
            if found := LOGGED.fullmatch(row[MESSAGE]):
                yield row[DATABASE], Executed(found[1], int(row[QUERY_ID]), row[SESSION])
