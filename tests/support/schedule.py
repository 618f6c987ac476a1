"""In what order test files are run.

Quick ones come first, so that a mistake shows early; those that take long begin before the rest of the slow
ones, so that no core waits for the last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
LONG: Final = (
    "acceptance/crawl/test_crawl.py",
    "acceptance/test_stack.py",
    "acceptance/collector/test_collector_outage.py",
    "acceptance/test_servers.py",
    "acceptance/flask_limiter_suite/test_flask_limiter_suite.py",
    "integration/test_cache_replay.py",
    "acceptance/test_alert_rules_promtool.py",
    "unit/test_duplicate_share.py",
    "acceptance/test_zero_code.py",
    "acceptance/test_analytics_zero_code.py",
    "integration/test_query_grouping.py",
    "acceptance/test_query_log_zero_code.py",
    "acceptance/test_broken_auto_instrumentation.py",
    "integration/redis_server_errors/test_redis_server_errors.py",
    "integration/test_bounded_memory_memory.py",
    "integration/test_cache_eviction.py",
    "integration/test_bounded_memory_threads.py",
    "acceptance/test_demo.py",
    "integration/test_cache_memory.py",
    "acceptance/test_cli.py",
    "integration/test_behind_nginx.py",
    "integration/test_cache_latency.py",
    "integration/test_bounded_memory_processes.py",
)
"""Files that take more than about fifteen seconds, the longest first."""


def place(path: Path) -> tuple[int, int]:
    """The key to sort files by; tests of one file stay in their order."""
    name = path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ""
    if name in LONG:
        return 1, LONG.index(name)
    return (0 if name.startswith("unit/") else 2), 0
