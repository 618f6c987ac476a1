"""Prints how far templates agree with PostgreSQL's query ids, rule by rule.

    python tests/corpus/report.py [regression | extensions | long]

The rules were found by reading what disagreed in `regression`. `extensions` were held back at first: read
then, they showed one wrong merge (`"char"`, put right) and gave two rules more (LIKE as `~~`, and casts as
calls).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from agreement import compare, total
from executed import executed, extensions, regression
from fetch import CORPUS, corpus
from long_statements import write

from otel_ratelimit.demo.workspace import workspace

DEBIAN = Path("/usr/lib/postgresql")
SUITES = {"regression": regression, "extensions": extensions}


def main(names: list[str]) -> None:
    """Run and compare the suites of these names."""
    files = corpus(CORPUS)
    binaries = max(DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name))
    for name in names or (*SUITES, "long"):
        with workspace(Path(tempfile.gettempdir())) as scratch:
            suites = SUITES[name](files) if name in SUITES else {"long": [write(scratch)]}
            found = executed(files, suites, binaries, scratch)
        print(name, total([compare(statements) for statements in found.values()]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
