"""The demo's job board as the stack runs it: it reports to the collector, and keeps every trace.

Which traces are worth keeping is the collector's to decide, so the application samples none out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from otel_ratelimit.demo.gunicorn_server import POLICY, Serving, clean_environment, plugin_environment
from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.postgres.embedded.processes import Launch, LeashedProcess

MAX_REQUESTS: Final = 500_000


def crowd(who: str, wanted: Serving, duration: float) -> LeashedProcess:
    """Clients of the job board for so many seconds: `visitors`, `abusers` or `everyone`."""
    return LeashedProcess(
        Launch(
            command=[
                *(sys.executable, "-m", "otel_ratelimit.demo.traffic", f"http://{LOOPBACK}:{wanted.port}"),
                *(f"--duration={duration}", f"--crowd={who}", f"--most-requests={MAX_REQUESTS}"),
            ],
            log=wanted.scratch / f"{who}.log",
            env=clean_environment(os.environ),
            cwd=wanted.scratch,
            grace=15.0,
        )
    )


def scheduler(wanted: Serving, environ: Mapping[str, str]) -> LeashedProcess:
    """What makes the nightly report, and says when it last did."""
    return LeashedProcess(
        Launch(
            command=["opentelemetry-instrument", "otel-ratelimit", "scheduler", "--policy", str(POLICY)],
            log=wanted.scratch / "scheduler.log",
            env={**clean_environment(environ), **plugin_environment(wanted)},
            cwd=wanted.scratch,
        )
    )
