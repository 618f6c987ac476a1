"""Workers that count in memory which their server reserved, with each kind of lock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

SUPPORT = Path(__file__).parents[2] / "support"
SERVER = """
import json, os, sys, time
from forks import at_once
from otel_ratelimit.core.route_plan import Strategy, Window
from otel_ratelimit.storage.zone.limits_adapter import SharedMemoryStorage
from otel_ratelimit.storage.zone.server import ZONES

plan = [Window("shop|a|60000|fixed-window|", 40_000, 60_000, Strategy.FIXED_WINDOW, False, "", "")]
descriptors = lambda: len(os.listdir("/proc/self/fd"))
ZONES.reserve()

def work():
    before = descriptors()
    storage = SharedMemoryStorage(sys.argv[1])
    opened, now = descriptors() - before, time.time()
    allowed = sum(storage.counters.take(plan, f"u{7:032x}", 1, now).allowed for _ in range(12_000))
    return storage.memory.origin, opened, allowed

print(json.dumps(at_once([work] * 4)))
"""


@pytest.mark.parametrize(("lock", "descriptors"), [("mutex", -1), ("file", 0)])
def test_together_they_allow_the_limit_and_keep_no_file_open_without_need(lock, descriptors):
    """The file of the reservation is closed, or becomes that of the lock."""
    done = subprocess.run(
        [sys.executable, "-c", SERVER, f"shared-memory://?lock={lock}"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    workers = json.loads(done.stdout)
    assert {(origin, opened) for origin, opened, _ in workers} == {("reserved", descriptors)}
    assert sum(allowed for _, _, allowed in workers) == 40_000
