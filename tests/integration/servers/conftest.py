"""Real servers with several workers that share their counters.

serve    starts one: `serve(GUNICORN, "-w", "4")`
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from components import MissingError
from http_servers import Server
from zone_apps import AUTO, BINARIES, BY_HAND, QUIET, ZERO_CODE, policy_of

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="workers are known on Linux only"
)


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """Unlike those of pytest, other users may read it."""
    with tempfile.TemporaryDirectory(prefix="servers-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def serve(readable_folder: Path) -> Iterator[Callable[..., Server]]:
    """`serve(command, *options)`: a running `Server`.

    `zero_code` says who gives the application its limits: `opentelemetry-instrument`, or its own code.
    """
    servers: list[Server] = []

    def start(
        command: tuple[str, ...],
        *options: str,
        zero_code: bool = False,
        app: str = "",
        policy: str = policy_of(10),
        environ: dict[str, str | None] | None = None,
        below: tuple[str, ...] = (),
        files: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Server:
        program = BINARIES / "uwsgi"
        if command[0] == str(program) and not program.exists():
            raise MissingError("uWSGI", "make uwsgi (needs gcc)")
        folder = readable_folder / f"server-{len(servers)}"
        folder.mkdir()
        given = app or (ZERO_CODE if zero_code else BY_HAND)
        for name, text in {"app.py": given, "ratelimit.toml": policy, **(files or {})}.items():
            (folder / name).write_text(text)
        instrument = AUTO if zero_code else ()
        server = Server(folder, [*below, *instrument, *command, *options], {**QUIET, **(environ or {})})
        servers.append(server)
        if ready:
            server.wait_until_ready()
        return server

    yield start
    for server in servers:
        server.stop()
