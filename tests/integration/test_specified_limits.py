"""Every endpoint that the specification names, on the demo's application and policy, over each window.

The views answer at once: what they do is tested in `test_demo_app.py`. A clock that stands still is moved.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from otel_ratelimit import RateLimit, demo
from otel_ratelimit.demo.jobs_app.app import create_app
from otel_ratelimit.policy import load_policy

POLICY = Path(demo.__file__).with_name("ratelimit.toml")
MIDNIGHT = 1_700_006_400
MINUTE, HOUR, DAY = 60, 3_600, 86_400

EXPENSIVE = {
    "POST /api/ai/analyze-jobs": ((10, MINUTE), (50, HOUR)),
    "POST /api/ai/batch-analyze": ((5, MINUTE), (20, HOUR)),
    "GET /api/ai/analysis-results/7": ((10, MINUTE),),
    "POST /api/scrape": ((5, HOUR), (20, DAY)),
    "POST /api/intelligent-scrape": ((5, HOUR),),
}
DOCUMENTS, EMAIL = ((20, MINUTE), (200, HOUR)), ((10, MINUTE), (100, HOUR))
WRITES, WORKFLOW = ((50, MINUTE), (500, HOUR)), ((20, MINUTE),)
MODERATE = {
    "GET /api/documents": DOCUMENTS,
    "POST /api/documents": DOCUMENTS,
    "GET /api/documents/7": DOCUMENTS,
    "DELETE /api/documents/7": DOCUMENTS,
    "POST /api/documents/generate": DOCUMENTS,
    "POST /api/email/send": EMAIL,
    "GET /api/email/outbox": EMAIL,
    "POST /api/jobs": WRITES,
    "PUT /api/jobs/7": WRITES,
    "DELETE /api/jobs/7": WRITES,
    "POST /api/applications": WRITES,
    "PUT /api/applications/7": WRITES,
    "DELETE /api/applications/7": WRITES,
    "POST /api/workflow": WORKFLOW,
    "GET /api/workflow/7": WORKFLOW,
    "POST /api/workflow/7/advance": WORKFLOW,
}
READS, DASHBOARD, ANALYTICS, DEFAULT = ((200, MINUTE),), ((500, MINUTE),), ((100, MINUTE),), ((100, MINUTE),)
CHEAP = {
    "GET /api/jobs": READS,
    "GET /api/jobs/7": READS,
    "GET /api/jobs/search": READS,
    "GET /api/jobs/7/similar": READS,
    "GET /api/companies": READS,
    "GET /api/companies/7": READS,
    "GET /api/applications": READS,
    "GET /api/applications/7": READS,
    "GET /api/dashboard": DASHBOARD,
    "GET /api/dashboard/stats": DASHBOARD,
    "GET /api/analytics/salaries": ANALYTICS,
    "GET /api/analytics/skills": ANALYTICS,
    "GET /api/analytics/funnel": ANALYTICS,
}
THE_REST = {"GET /": DEFAULT, "POST /login": DEFAULT, "POST /logout": DEFAULT, "GET /me": DEFAULT}
LIMITED = {**EXPENSIVE, **MODERATE, **CHEAP, **THE_REST}


class Clock:
    def __init__(self):
        self.now = float(MIDNIGHT)

    def __call__(self):
        return self.now


class Site:
    """The demo's application under the demo's policy, and a clock of its own."""

    def __init__(self):
        self.app: Flask = create_app()
        for endpoint in self.app.view_functions:
            if endpoint != "static":
                self.app.view_functions[endpoint] = lambda **_: "done"
        self.clock = Clock()
        self.limit = RateLimit(self.app, policy=load_policy(POLICY), environ={}, clock=self.clock)

    def request(self, wanted, address="192.0.2.7", **headers):
        """The environ of `METHOD /path`, to be sent any number of times."""
        method, path = wanted.split()
        environ = {"REMOTE_ADDR": address}
        return EnvironBuilder(path, method=method, headers=headers, environ_base=environ).get_environ()

    def send(self, request):
        """Status and headers, straight from the application: thousands of requests are sent here."""
        answered = []
        body = self.app(dict(request), lambda status, headers, *_: answered.append((status, headers)))
        getattr(body, "close", lambda: None)()
        [(status, headers)] = answered
        return int(status[:3]), dict(headers)

    def until_refused(self, request, pause=0.0):
        """How many were let through, and for how long the next is told to wait, in seconds.

        After the first, which its windows begin with, `pause` seconds pass.
        """
        allowed = 0
        status, headers = self.send(request)
        while status == HTTPStatus.OK:
            self.clock.now += 0 if allowed else pause
            allowed += 1
            status, headers = self.send(request)
        assert status == HTTPStatus.TOO_MANY_REQUESTS
        return allowed, int(headers["Retry-After"])


@pytest.fixture
def site():
    site = Site()
    yield site
    site.limit.close()


def expected(windows, pause=0.0):
    """Bursts of a client that comes again when it is told to: each with its size and with the wait after it.

    A window begins with the first request that it counts; in each burst, `pause` seconds later come the rest.
    """
    (short_amount, short), (amount, long) = windows[0], windows[-1]
    bursts, now, left = [], 0.0, amount
    while left:
        began, size = now, min(short_amount, left)
        now, left = now + pause, left - size
        ends = began + short if left else max(began + short, long)
        wait = math.ceil(ends - now)
        bursts.append((size, wait))
        now += wait
    return bursts


@pytest.mark.untraced
@pytest.mark.parametrize("wanted", LIMITED)
def test_each_window_is_used_up_to_the_unit_and_ends_when_retry_after_says(site, wanted):
    request, pause = site.request(wanted), 3.25
    for burst in expected(LIMITED[wanted], pause):
        assert site.until_refused(request, pause) == burst
        site.clock.now += burst[1] - 1
        status, headers = site.send(request)
        assert (status, headers["Retry-After"]) == (HTTPStatus.TOO_MANY_REQUESTS, "1")
        site.clock.now += 1
    assert site.until_refused(request) == LIMITED[wanted][0]


def test_the_expected_bursts_are_those_that_the_specification_means():
    assert expected(LIMITED["POST /api/scrape"]) == [*[(5, HOUR)] * 3, (5, 21 * HOUR)]
    assert expected(LIMITED["POST /api/ai/analyze-jobs"]) == [*[(10, 60)] * 4, (10, HOUR - 240)]
    assert expected(READS, 0.5) == [(200, 60)]


def test_every_route_of_the_application_is_in_the_table_above(site):
    adapter = site.app.url_map.bind("")
    named = set()
    for wanted in [*LIMITED, "GET /health"]:
        method, path = wanted.split()
        rule, _ = adapter.match(path, method=method, return_rule=True)
        named.add((method, rule.rule))
    routes = {
        (method, rule.rule)
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint != "static" and not rule.rule.startswith("/api/rate-limit/")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert named == routes


def test_each_tier_and_each_choice_of_the_policy_has_its_reason_beside_it():
    text = POLICY.read_text()
    tiers = text.split("[tiers]", 1)[1].split("\n[[", 1)[0]
    for name in set(load_policy(POLICY).tiers) - {"expensive", "moderate", "cheap", "default"}:
        assert re.search(rf"^{name} = .* # .{{20,}}$", tiers, flags=re.MULTILINE), name
    for key in ("key = ", "strategy = ", "on_error = ", "exempt = ", "default = "):
        assert re.search(rf"^# .+\n{key}", text, flags=re.MULTILINE), key


def test_health_checks_are_never_limited_or_counted(site):
    request = site.request("GET /health")
    for _ in range(1_000):
        status, headers = site.send(request)
        assert status == HTTPStatus.OK
        assert not {"RateLimit", "X-RateLimit-Limit", "Retry-After"} & set(headers)


# --- under load: several clients at once, from several threads -------------------------------------

LOADS = {
    "documents": "POST /api/documents/generate",
    "e-mail": "POST /api/email/send",
    "writes": "POST /api/jobs",
    "workflow": "POST /api/workflow",
}
THREADS = 6
TOO_MANY = 7
"""So many more than the limit are sent in each burst."""


def signed_in(site, user):
    client = site.app.test_client()
    with client.session_transaction() as session:
        session["user_id"] = user
    return {"Cookie": f"session={client.get_cookie('session').value}"}


def addresses(site, wanted):
    return {name: site.request(wanted, address=name) for name in ("192.0.2.1", "198.51.100.1", "2001:db8::1")}


def users_of_one_address(site, wanted):
    return {user: site.request(wanted, **signed_in(site, user)) for user in (1, 2, 3)}


def one_client_and_a_quiet_one(site, wanted):
    return addresses(site, wanted) | {"quiet": site.request(wanted, address="203.0.113.9")}


@pytest.mark.untraced
@pytest.mark.parametrize("clients", [addresses, users_of_one_address, one_client_and_a_quiet_one])
@pytest.mark.parametrize("load", LOADS)
def test_under_load_each_client_gets_its_limit_to_the_unit(site, load, clients):
    windows = LIMITED[LOADS[load]]
    requests = clients(site, LOADS[load])
    order = random.Random(load)
    with ThreadPoolExecutor(THREADS) as threads:
        for size, wait in expected(windows):
            asked = [name for name in requests if name != "quiet"] * (size + TOO_MANY)
            order.shuffle(asked)
            answers = list(threads.map(lambda name: (name, site.send(requests[name])), asked))
            allowed = Counter(name for name, (status, _) in answers if status == HTTPStatus.OK)
            assert allowed == dict.fromkeys(set(asked), size)
            refused = [(status, headers.get("Retry-After")) for _, (status, headers) in answers]
            assert set(refused) == {(200, None), (429, str(wait))}
            if "quiet" in requests:
                assert site.send(requests["quiet"])[0] == HTTPStatus.OK
            site.clock.now += wait
