"""Two processes around the job board: its clients, and the scheduler of the nightly report."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from otel_ratelimit.demo.gunicorn_server import POLICY, Serving, clean_environment, plugin_environment
from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.postgres.embedded.supervised_process import Launch, SupervisedProcess

MAX_REQUESTS: Final = 500_000


def crowd(who: str, wanted: Serving, duration: float) -> SupervisedProcess:
    """Clients of the job board for so many seconds: `visitors`, `abusers` or `everyone`."""
    return SupervisedProcess(
        Launch(
            command=[
                *(sys.executable, "-m", "otel_ratelimit.demo.traffic", f"http://{LOOPBACK}:{wanted.port}"),
                *(f"--duration={duration}", f"--crowd={who}", f"--max-requests={MAX_REQUESTS}"),
            ],
            log=wanted.scratch / f"{who}.log",
            env=clean_environment(os.environ),
            cwd=wanted.scratch,
            grace=15.0,
        )
    )


def scheduler(wanted: Serving, environ: Mapping[str, str]) -> SupervisedProcess:
    """The scheduler, which makes the nightly report and reports when it last did so."""
    return SupervisedProcess(
        Launch(
            command=["opentelemetry-instrument", "otel-ratelimit", "scheduler", "--policy", str(POLICY)],
            log=wanted.scratch / "scheduler.log",
            env={**clean_environment(environ), **plugin_environment(wanted)},
            cwd=wanted.scratch,
        )
    )
