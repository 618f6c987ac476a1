"""Every benchmark, one after the other; `--write` puts the tables into docs/explanation/benchmarks.md.

make bench                                # everything, half an hour
make bench ARGS="--quick"                 # fewer keys and rounds, some three minutes
make bench ARGS="--write"
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "benchmarks.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

BENCHMARKS = (
    ("A request", "bench_request.py", [], ["--rounds", "20", "--calls", "200"]),
    ("The in-process store", "bench_storage.py", [], ["--keys", "10,1000", "--distinct", "1000000"]),
    ("Recording", "bench_recorder.py", [], ["--rounds", "50", "--batches", "300", "--seconds", "5"]),
    ("Queries", "bench_queries.py", [], ["--rounds", "60", "--executions", "1000000"]),
    (
        "Looking up a query",
        "bench_query_log_indexes.py",
        [],
        ["--rows", "500000", "--rounds", "10"],
    ),
    ("The cache analysis", "bench_cache_analysis.py", [], ["--rows", "500000", "--repeats", "1"]),
)
COMPARED = ("flask-limiter", "limits", "Flask", "opentelemetry-sdk")


def run(script, arguments):
    """Run one benchmark, showing its lines as they come; answers what it printed."""
    command = [sys.executable, str(HERE / script), *arguments]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    return "".join(lines)


def machine():
    versions = ", ".join(f"{name} {version(name)}" for name in COMPARED)
    cores = len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {cores} cores,"
        f" Python {platform.python_version()}; {versions}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer keys and rounds")
    parser.add_argument("--write", action="store_true", help="put the tables into the documentation")
    options = parser.parse_args()
    parts = [machine()]
    print(parts[0])
    for title, script, full, quick in BENCHMARKS:
        print(f"\n## {title}\n")
        parts.append(f"### {title}\n\n{run(script, quick if options.quick else full).strip()}")
    if options.write:
        page = PAGE.read_text()
        measured = f"{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}"
        PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: measured, page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
