"""Gets SQL that this project did not write: the files of PostgreSQL's own regression tests.

    python tests/corpus/fetch.py

They come from Debian's source package, through apt: from where this machine's apt gets Debian's packages, in
directories of its own, checked with Debian's keys. PostgreSQL Licence; not part of this repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

CORPUS = Path(__file__).parents[2] / ".cache" / "corpus"
"""Where it is kept; git does not see it."""
WANTED = re.compile(r"[^/]+/(?:src/test/(regress/.+)|(contrib/[^/]+/(?:Makefile|sql/.+|data/.+)))")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INDEXES = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"


class FetchError(Exception):
    """The corpus could not be fetched."""


def main() -> int:
    """Get the corpus for the newest PostgreSQL that Debian has here, unless it is there.

    Returns:
        The status to exit with.
    """
    try:
        print(corpus(CORPUS))
    except (FetchError, OSError, subprocess.CalledProcessError) as error:
        print(f"PostgreSQL's regression tests could not be fetched: {error}", file=sys.stderr)
        return 1
    return 0


def corpus(kept: Path) -> Path:
    """The folder with `regress` and `contrib`, fetched once into `kept`.

    Raises:
        FetchError: there is no apt here, or it knows no source of Debian's.
        subprocess.CalledProcessError: apt failed; what it said is on stderr.
        OSError: it could not be kept.
    """
    postgresql = kept / "postgresql"
    if postgresql.exists():
        return postgresql
    apt = _private_apt(kept)
    subprocess.run(["apt-get", *apt, "-qq", "update"], check=True, stdout=sys.stderr)
    package = _source_package()
    subprocess.run(
        ["apt-get", *apt, "-qq", "source", "--download-only", package],
        check=True,
        cwd=kept,
        stdout=sys.stderr,
    )
    [archive] = kept.glob(f"{package}_*.orig.tar.*[!c]")
    _extract(archive, kept / "partial")
    (kept / "partial").rename(postgresql)
    return postgresql


def _private_apt(kept: Path) -> list[str]:
    """Options for apt-get by which it reads and writes nothing of the machine's own state."""
    sources = kept / "apt" / "sources.list"
    for folder in ("lists/partial", "cache/archives/partial"):
        (kept / "apt" / folder).mkdir(parents=True, exist_ok=True)
    sources.write_text("".join(f"{line}\n" for line in _sources()), encoding="ascii")
    return [
        f"-oDir::Etc::SourceList={sources}",
        "-oDir::Etc::SourceParts=-",
        f"-oDir::State::Lists={kept / 'apt' / 'lists'}",
        f"-oDir::Cache={kept / 'apt' / 'cache'}",
        "-oAPT::Sandbox::User=",
    ]


def _sources() -> list[str]:
    """`deb-src` lines for the places from which this machine has Debian's packages.

    Releases stay there; of security updates only the last does.
    """
    try:
        known = subprocess.run(
            ["apt-get", "indextargets", "--format", INDEXES, "Created-By: Packages"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except FileNotFoundError:
        raise FetchError("there is no apt-get here; Debian or its like is needed") from None
    lines = set()
    for line in known.splitlines():
        origin, uri, release, component = line.split("|")
        if origin == "Debian" and component == "main" and "security" not in release:
            lines.add(f"deb-src [signed-by={KEYS}] {uri} {release} {component}")
    if not lines:
        raise FetchError("apt knows no source of Debian's; run `apt-get update` first")
    return sorted(lines)


def _source_package() -> str:
    """The source of what Debian's package `postgresql` stands for: `postgresql-15` and the like."""
    known = subprocess.run(
        ["apt-cache", "depends", "postgresql"], check=False, capture_output=True, text=True
    ).stdout
    found = re.search(r"Depends: (postgresql-\d+)$", known, re.MULTILINE)
    if not found:
        raise FetchError("apt knows no package postgresql; run `apt-get update` first")
    return found[1]


def _extract(archive: Path, into: Path) -> None:
    with tarfile.open(archive) as source:
        for member in source:
            wanted = WANTED.fullmatch(member.name)
            content = source.extractfile(member) if wanted and member.isfile() else None
            if wanted and content:
                path = into / (wanted[1] or wanted[2])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


if __name__ == "__main__":
    sys.exit(main())
