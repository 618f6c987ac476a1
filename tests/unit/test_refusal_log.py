"""What the application log says of refused requests: who, how often, exactly, and at most a line a minute."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest
import refused_requests
from opentelemetry.trace import get_current_span
from refused_requests import refused, span

from otel_ratelimit.analytics.records import Violation
from otel_ratelimit.core import names
from otel_ratelimit.core.errors import DatabaseError
from otel_ratelimit.policy.identity.address_masking import hash_address
from otel_ratelimit.telemetry.logs import RefusalLog, ShownAddresses, distinct_count
from otel_ratelimit.telemetry.logs.distinct_count import DistinctCount
from otel_ratelimit.telemetry.logs.refusal_summaries import MAX_LIMITS, RefusalLines

LOGGER = "otel_ratelimit.refusals"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def the_same_hash_in_each_run(monkeypatch):
    """How far an estimate is off depends on the hash, and Python's is another one in each process."""
    monkeypatch.setattr(
        distinct_count,
        "hash",
        lambda text: int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True),
        raising=False,
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_log(clock, caplog):
    caplog.set_level(logging.INFO, LOGGER)

    def make(style="whole", *, key=b"", shared=None, max_pending=1_000, max_clients=100):
        addresses = ShownAddresses(style, key, shared)
        return RefusalLog(addresses, RefusalLines(max_clients), max_pending, monotonic=clock)

    return make


def written(caplog):
    return [record for record in caplog.records if record.name == LOGGER]


def counts(caplog):
    return [vars(record)[names.REFUSED_REQUESTS] for record in written(caplog)]


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


@pytest.mark.untraced
def test_a_hundred_thousand_clients_make_a_hundred_lines_and_one_for_all_others(make_log, caplog):
    log = make_log(max_pending=1_000, max_clients=100)
    for n in range(100_000):
        log(refused(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    log.tick()

    assert len(log._pending) == len(log._others) == 0
    assert len(written(caplog)) == 101
    assert sum(counts(caplog)) == 100_000
    message = written(caplog)[-1].getMessage()
    found = re.fullmatch(
        r"refused 99900 requests of about (\d+) other clients: GET /thing, limit .*", message
    )
    assert int(found[1]) == pytest.approx(99_900, rel=0.1)
    assert vars(written(caplog)[-1])[names.REFUSED_CLIENTS] == int(found[1])
    assert names.CLIENT_ADDRESS not in vars(written(caplog)[-1])


def test_memory_is_bounded_between_two_looks_and_over_many(make_log, clock):
    log = make_log(max_pending=20, max_clients=10)
    for n in range(5_000):
        log(refused(f"10.0.{n >> 8}.{n & 255}", limit=f"{n % 3 + 1} per 1 minute"))
        assert len(log._pending) <= 20
        assert len(log._others) <= 3
        if n % 100 == 0:
            clock.now += 5
            log.tick()
            assert len(log._lines._lines) <= 10


def test_the_line_of_all_others_comes_once_a_minute_too(make_log, clock, caplog):
    log = make_log(max_pending=2, max_clients=2)
    for second in range(0, 130, 5):
        clock.now = 1000.0 + second
        for n in range(20):
            log(refused(f"10.0.0.{n}"))
        log.tick()
    log.close()
    others = [record for record in written(caplog) if names.REFUSED_CLIENTS in vars(record)]
    assert len(others) == 4  # at 0, 60 and 120 seconds, and at the end
    assert {vars(record)[names.REFUSED_CLIENTS] for record in others} == {18}
    assert sum(counts(caplog)) == 26 * 20


def test_clients_that_have_paused_make_room_for_new_ones(make_log, clock, caplog):
    log = make_log(max_clients=2)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        log(refused(address))
    log.tick()
    clock.now += 61
    log.tick()
    log(refused("10.0.0.4"))
    log.tick()
    clients = [vars(record).get(names.CLIENT_ADDRESS) for record in written(caplog)]
    assert clients == ["10.0.0.1", "10.0.0.2", None, "10.0.0.4"]


@pytest.mark.parametrize("n", [1, 2, 10, 100, 1_000, 30_000])
def test_how_many_clients_there_were_is_known_to_a_tenth(n):
    count = DistinctCount()
    for _ in range(2):
        for each in range(n):
            count.add(f"client {each}")
    assert count.estimate == pytest.approx(n, rel=0.12)


def test_two_counts_of_clients_are_merged():
    one, other = DistinctCount(), DistinctCount()
    for n in range(100):
        one.add(str(n))
        other.add(str(n + 50))
    one.merge(other)
    assert one.estimate == pytest.approx(150, rel=0.1)


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


# Many limits and endpoints, where the application names paths


def test_twenty_thousand_endpoints_make_two_hundred_lines_and_one_for_all_others(make_log, caplog):
    log = make_log()
    for n in range(20_000):
        log.violated(violation_at(f"/job/{n}", client=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    assert len(log._pending) + len(log._others) <= 1_000 + MAX_LIMITS + 2
    log.tick()
    assert sum(counts(caplog)) == 20_000
    assert len(written(caplog)) == 100 + MAX_LIMITS + 1
    last = written(caplog)[-1]
    found = re.fullmatch(
        r"refused 1[89]\d{3} requests of about (\d+) other clients: about (\d+) other limits or endpoints",
        last.getMessage(),
    )
    assert all(int(estimate) == pytest.approx(19_500, rel=0.1) for estimate in found.groups())
    assert vars(last)[names.REFUSED_LIMITS] == int(found[2])
    assert names.HTTP_ROUTE not in vars(last)


def test_thirty_looks_at_new_endpoints_keep_no_more_than_one(make_log, clock):
    log = make_log(max_pending=10, max_clients=5)
    for look in range(30):
        for n in range(150):
            log.violated(violation_at(f"/job/{look}/{n}"))
        clock.now += 0.1
        log.tick()
    assert len(log._lines._others) <= MAX_LIMITS + 2
    assert len(log._lines._lines) <= 5


def test_one_limit_more_than_are_told_apart_and_shadow_are_counted_exactly(make_log, caplog):
    log = make_log(max_pending=1, max_clients=1)
    for n in range(MAX_LIMITS + 2):
        log.violated(violation_at(f"/job/{n}"))
    for n in range(3):
        log.violated(violation_at(f"/job/{MAX_LIMITS + 9}", shadow=True, client=f"10.0.0.{n}"))
    log.tick()
    assert sum(counts(caplog)) == MAX_LIMITS + 2 + 3
    messages = [record.getMessage() for record in written(caplog)]
    assert "refused 1 request of about 1 other client: about 1 other limit or endpoint" in messages
    assert (
        "would have refused (shadow) 3 requests of about 3 other clients: about 1 other limit or endpoint"
        in messages
    )


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


def violation_at(endpoint, *, client="192.0.2.7", shadow=False):
    return Violation(
        1.0, 1.0, endpoint, "GET", client, None, "application", "5 per 1 minute", 5, 60, 6, None, None, shadow
    )
