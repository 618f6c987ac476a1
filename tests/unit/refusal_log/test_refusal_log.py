"""The application log names refused clients, with exact counts, in at most one line a minute."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import refused_requests
from opentelemetry.trace import get_current_span
from refusal_lines import LOGGER, counts, written
from refused_requests import refused, span

from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core import names
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.policy.identity.address_masking import hash_address


def test_a_line_says_who_was_refused_where_how_often_and_by_which_limit(make_log, caplog):
    log = make_log()
    for _ in range(37):
        log(refused(user="alice", route="/jobs/<int:id>", tier="expensive"))
    log.tick()

    [record] = written(caplog)
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "refused 37 requests of client 198.51.100.7 (user alice): GET /jobs/<int:id>, limit 5 per 1 minute,"
        " tier expensive"
    )
    fields = vars(record)
    assert fields[names.HTTP_ROUTE] == "/jobs/<int:id>"
    assert fields[names.HTTP_REQUEST_METHOD] == "GET"
    assert fields[names.TIER] == "expensive"
    assert fields[names.LIMIT] == "5 per 1 minute"
    assert fields[names.DECISION] == "blocked"
    assert fields[names.CLIENT_ADDRESS] == "198.51.100.7"
    assert fields[names.USER] == "alice"


def test_nothing_is_written_on_the_requests_thread(make_log, caplog):
    log = make_log()
    log(refused())
    assert written(caplog) == []


def test_a_client_and_limit_have_one_line_a_minute_and_the_first_comes_at_once(make_log, clock, caplog):
    log = make_log()
    seen = []
    for second in range(0, 300, 5):
        clock.now = 1000.0 + second
        for _ in range(10):
            log(refused())
        before = len(written(caplog))
        log.tick()
        seen += [second] * (len(written(caplog)) - before)
    log.close()

    assert seen == [0, 60, 120, 180, 240]
    assert counts(caplog) == [10, 120, 120, 120, 120, 110]
    assert sum(counts(caplog)) == 600


def test_a_client_that_comes_back_after_a_minute_has_its_line_at_once(make_log, clock, caplog):
    log = make_log()
    for now in (1000.0, 1061.0, 1122.0, 1183.0):
        clock.now = now
        log.tick()
        log(refused())
        log.tick()
    assert counts(caplog) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"address": "198.51.100.8"},
        {"user": "bob"},
        {"limit": "50 per 1 hour"},
        {"route": "/other"},
        {"shadow": True},
    ],
    ids=" ".join,
)
def test_another_client_or_limit_has_a_line_of_its_own(make_log, caplog, other):
    log = make_log()
    log(refused())
    log(refused(**other))
    log(refused())
    log.tick()
    assert sorted(counts(caplog)) == [1, 2]


def test_limits_that_the_application_declared_are_told_apart_by_route(make_log, caplog):
    log = make_log()
    for route in ("/a", "/b", "/a"):
        log(refused(route=route, prefix=""))
    log.tick()
    assert sorted(counts(caplog)) == [1, 2]


def test_routes_that_share_a_limit_share_its_line(make_log, caplog):
    log = make_log()
    log(refused(route="/a", prefix="shared|"))
    log(refused(route="/b", prefix="shared|"))
    log.tick()
    assert counts(caplog) == [2]


def test_shadow_is_told_apart(make_log, caplog):
    log = make_log()
    log(refused(shadow=True))
    log.tick()
    [record] = written(caplog)
    assert record.levelname == "INFO"
    assert record.getMessage().startswith("would have refused (shadow) 1 request of client 198.51.100.7: ")
    assert vars(record)[names.DECISION] == "shadow_blocked"


@pytest.mark.parametrize(
    ("style", "shown"), [("whole", "203.0.113.9"), ("masked", "203.0.113.0/24")], ids=["whole", "masked"]
)
def test_an_address_is_shown_as_the_policy_says(make_log, caplog, style, shown):
    log = make_log(style)
    log(refused("203.0.113.9"))
    log.tick()
    [record] = written(caplog)
    assert vars(record)[names.CLIENT_ADDRESS] == shown
    assert ("203.0.113.9" in str(vars(record))) is (style == "whole")


def test_clients_that_look_alike_masked_share_a_line(make_log, clock, caplog):
    log = make_log("masked")
    for n in range(50):
        log(refused(f"203.0.113.{n}"))
        clock.now += 0.2
        log.tick()
    log(refused("2001:db8:1:2::1"))
    log(refused("2001:db8:1:3::1"))
    log.close()
    shown = Counter(vars(record)[names.CLIENT_ADDRESS] for record in written(caplog))
    assert shown == {"203.0.113.0/24": 2, "2001:db8:1::/48": 1}
    assert sum(counts(caplog)) == 52


def test_a_hash_is_that_of_the_tables(make_log, caplog):
    log = make_log("hashed", shared=lambda: b"of the database")
    log(refused("203.0.113.9"))
    log.tick()
    assert vars(written(caplog)[0])[names.CLIENT_ADDRESS] == hash_address("203.0.113.9", b"of the database")


def test_the_key_that_was_set_comes_before_the_databases(make_log, caplog):
    log = make_log("hashed", key=b"set", shared=lambda: b"of the database")
    log(refused("203.0.113.9"))
    log.tick()
    assert vars(written(caplog)[0])[names.CLIENT_ADDRESS] == hash_address("203.0.113.9", b"set")


def test_without_any_key_a_hash_cannot_be_guessed(make_log, caplog):
    for _ in range(2):
        log = make_log("hashed")
        log(refused("203.0.113.9"))
        log.tick()
    one, other = (vars(record)[names.CLIENT_ADDRESS] for record in written(caplog))
    assert one != other
    assert hash_address("203.0.113.9", b"") not in {one, other}


def test_a_database_that_is_away_costs_no_line_and_is_not_asked_at_the_end(make_log, caplog):
    asked = []

    def away():
        asked.append(True)
        raise DatabaseError("gone")

    log = make_log("hashed", shared=away)
    log(refused("203.0.113.9"))
    log.tick()
    assert asked == [True]
    log(refused("203.0.113.9"))
    log.close()
    assert asked == [True]
    one, other = (vars(record)[names.CLIENT_ADDRESS] for record in written(caplog))
    assert one == other
    assert re.fullmatch("[0-9a-f]{32}", one)


@pytest.mark.parametrize("user", ["a\nb", "x\x1b[31m", "\u2028", "\ud800", "n" * 5_000])
def test_nobody_writes_lines_of_their_own_into_the_log(make_log, caplog, user):
    log = make_log()
    log(refused(user=user))
    log.tick()
    [record] = written(caplog)
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 400
    record.getMessage().encode()


def test_a_line_is_a_part_of_the_refused_requests_trace(make_log, caplog):
    log = make_log()
    seen = []

    class Spy(logging.Handler):
        def emit(self, record):
            seen.append(get_current_span().get_span_context().trace_id)

    spy = Spy()
    logging.getLogger(LOGGER).addHandler(spy)
    try:
        with span(0xABC):
            log(refused())
        log(refused("198.51.100.8"))
        log.tick()
    finally:
        logging.getLogger(LOGGER).removeHandler(spy)
    assert seen == [0xABC, 0]
    assert written(caplog)[0].getMessage().endswith(f", trace {0xABC:032x}")
    assert "trace" not in written(caplog)[1].getMessage()
    assert get_current_span().get_span_context().trace_id == 0


def test_a_trace_that_can_be_found_is_preferred(make_log, caplog):
    log = make_log()
    log(refused())
    for trace, sampled in ((1, False), (2, False), (3, True), (4, True), (5, False)):
        with span(trace, sampled=sampled):
            log(refused())
    log.tick()
    assert f"trace {3:032x}" in written(caplog)[0].getMessage()


def test_what_the_application_refused_itself_is_there_too(make_log, caplog):
    log = make_log()
    violation = Violation(
        occurred_at=1.0,
        last_at=1.0,
        endpoint="/own",
        method="POST",
        client="203.0.113.9",
        user_id="eve",
        tier="application",
        limit_text="3 per 1 day",
        limit_value=3,
        limit_seconds=86_400,
        current_count=3,
        user_agent=None,
        trace_id=None,
        shadow=False,
        n=4,
    )
    log.violated(violation)
    log.violated(violation)
    log.tick()
    assert written(caplog)[0].getMessage() == (
        "refused 8 requests of client 203.0.113.9 (user eve): POST /own, limit 3 per 1 day, tier application"
    )


def test_sums_are_exact_while_threads_refuse_and_lines_are_written(make_log, clock, caplog):
    log = make_log(max_pending=7, max_clients=3)

    def hammer(worker):
        for n in range(2_000):
            log(refused(f"10.0.{worker % 2}.{n % 11}"))
            if n % 500 == 0:
                clock.now += 20
                log.tick()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hammer, range(4)))
    log.close()
    log.close()
    assert sum(counts(caplog)) == 8_000


FORKS = """
import logging, os, sys
sys.path.insert(0, {folder!r})
from refused_requests import refused
from otel_ratelimit.core import names
from otel_ratelimit.telemetry.logs import RefusalLog, ShownAddresses

class Count(logging.Handler):
    def emit(self, record):
        os.write(1, f"{{os.getpid() == parent}} {{vars(record)[names.REFUSED_REQUESTS]}}\\n".encode())

parent = os.getpid()
logging.getLogger("otel_ratelimit.refusals").addHandler(Count())
log = RefusalLog(ShownAddresses("whole"))
for _ in range(7):
    log(refused())
log.tick()
for _ in range(5):
    log(refused())
log._lock.acquire()  # as another thread may hold it
child = os.fork()
if child == 0:
    for _ in range(3):
        log(refused())
    sys.exit()
log._lock.release()
os.waitpid(child, 0)
"""


def test_each_refusal_is_in_one_line_also_after_a_fork_and_at_the_end_of_a_process(tmp_path):
    script = tmp_path / "forks.py"
    script.write_text(textwrap.dedent(FORKS.format(folder=str(Path(refused_requests.__file__).parent))))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    lines = sorted(tuple(map(ast.literal_eval, line.split())) for line in done.stdout.splitlines())
    assert lines == [(False, 3), (True, 5), (True, 7)]


def test_nothing_is_lost_where_the_addresses_cannot_be_shown_for_once(make_log, caplog):
    failing = [RuntimeError("not now")]

    def shared():
        if failing:
            raise failing.pop()
        return b"of the database"

    log = make_log("hashed", shared=shared)
    log(refused())
    log(refused())
    with pytest.raises(RuntimeError):
        log.tick()
    log.tick()
    assert counts(caplog) == [2]
