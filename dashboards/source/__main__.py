"""Write the dashboards: `python -m dashboards.source [folder]`."""

from __future__ import annotations

import sys
from pathlib import Path

from dashboards.source.build import FILES, as_json, build


def main(folder: Path) -> None:
    """Write all of them into `folder`."""
    for file in FILES:
        (folder / file).write_text(as_json(build(file)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "generated")
