"""The clients of the job board: people, a scraper, an abuser, and a load balancer's probe.

They are users for locust. Each has a loopback address of its own (127.0.0.x), so that each has limits of its
own and no header has to be trusted. Where only 127.0.0.1 exists (macOS), they act as if behind a proxy that
appends their address to `X-Forwarded-For`, and the server trusts that proxy.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any, ClassVar

from locust import HttpUser, between, constant_throughput, task
from locust.exception import StopUser
from requests import RequestException, Response
from requests.adapters import HTTPAdapter

from otel_ratelimit.demo.client_reports import TOO_MANY_REQUESTS, Recorder, Refusal
from otel_ratelimit.demo.jobs_app.seed import COMPANIES, JOBS, PASSWORD, SKILLS, USERS, email_of

FORWARDED = "X-Forwarded-For"
REQUEST_TIMEOUT_SECONDS = 20.0


class _FromAddress(HTTPAdapter):
    """Makes every connection from one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)


class Visitor(HttpUser):
    """The base class of all clients. `traffic` sets the class attributes."""

    abstract = True
    persona: ClassVar[str]
    address_pool: ClassVar[Iterator[str]]
    recorder: ClassVar[Recorder]
    max_requests: ClassVar[int] = 100_000
    bind_addresses: ClassVar[bool] = True
    seed: ClassVar[int] = 1

    def on_start(self) -> None:
        """Take an address and a random generator."""
        self.address = next(type(self).address_pool)
        self.chance = random.Random(f"{self.seed} {self.address}")
        self.client.trust_env = False
        if self.bind_addresses:
            self.client.mount("http://", _FromAddress(self.address))

    def send(self, method: str, path: str, name: str = "", **more: Any) -> Response | None:
        """Send one request and count it; its answer, or None if there was none."""
        if self.recorder.requests >= self.max_requests:
            raise StopUser
        headers = dict(more.pop("headers", {}))
        if not self.bind_addresses:
            headers[FORWARDED] = ", ".join(filter(None, (headers.get(FORWARDED), self.address)))
        endpoint = f"{method} {name or path}"
        try:
            response = self.client.request(
                method, path, name=name or path, headers=headers, timeout=REQUEST_TIMEOUT_SECONDS, **more
            )
        except RequestException:
            self.recorder.count(self.persona, endpoint, 0)
            return None
        status = response.status_code or 0
        self.recorder.count(self.persona, endpoint, status)
        if status == TOO_MANY_REQUESTS:
            self.recorder.keep(_refusal(self, f"{method} {path}", response))
        return response if status else None

    def sign_in(self, number: int) -> None:
        """Start a session as sample user `number`."""
        self.send("POST", "/login", json={"email": email_of(number), "password": PASSWORD})

    def any_job(self) -> int:
        """The number of a random job."""
        return self.chance.randint(1, JOBS)


class Person(Visitor):
    """A person who reads, searches and applies, with pauses."""

    persona = "person"
    address_pool = (f"127.0.0.{n}" for n in itertools.count(11))
    user_numbers: ClassVar[Iterator[int]] = itertools.cycle(range(1, USERS))
    wait_time = between(0.3, 1.2)

    def on_start(self) -> None:
        """Sign in and look at the start page."""
        super().on_start()
        self.sign_in(next(self.user_numbers))
        self.send("GET", "/api/dashboard")

    @task(6)
    def browse(self) -> None:
        """List the newest jobs, and open one."""
        self.send("GET", f"/api/jobs?offset={20 * self.chance.randrange(6)}", "/api/jobs")
        self.send("GET", f"/api/jobs/{self.any_job()}", "/api/jobs/<id>")

    @task(5)
    def search(self) -> None:
        """Look for a skill."""
        self.send("GET", f"/api/jobs/search?q={self.chance.choice(SKILLS)}", "/api/jobs/search")

    @task(2)
    def look_at_a_company(self) -> None:
        """Read about a company."""
        self.send("GET", f"/api/companies/{self.chance.randint(1, COMPANIES)}", "/api/companies/<id>")

    @task(3)
    def apply(self) -> None:
        """Apply for a job, and look at the applications."""
        self.send("POST", "/api/applications", json={"job_id": self.any_job(), "note": "Sounds good."})
        self.send("GET", "/api/applications")

    @task(2)
    def look_at_the_dashboard(self) -> None:
        """Look at the dashboard."""
        self.send("GET", "/api/dashboard")
        self.send("GET", "/api/dashboard/stats")

    @task(1)
    def compare_with_cv(self) -> None:
        """Have some jobs compared with the CV, and read the result."""
        wanted = [self.any_job() for _ in range(5)]
        response = self.send("POST", "/api/ai/analyze-jobs", json={"job_ids": wanted})
        if response is not None and response.ok:
            number = response.json()["id"]
            self.send("GET", f"/api/ai/analysis-results/{number}", "/api/ai/analysis-results/<id>")

    @task(1)
    def write(self) -> None:
        """Have a letter written, and send it."""
        response = self.send("POST", "/api/documents/generate", json={"job_id": self.any_job()})
        if response is not None and response.ok:
            letter = {"to": "jobs@example.org", "subject": "Application", "body": response.json()["body"]}
            self.send("POST", "/api/email/send", json=letter)

    @task(1)
    def follow_the_workflow(self) -> None:
        """Start an application step by step."""
        response = self.send("POST", "/api/workflow", json={"job_id": self.any_job()})
        if response is not None and response.ok:
            number = response.json()["id"]
            self.send("POST", f"/api/workflow/{number}/advance", "/api/workflow/<id>/advance")

    @task(1)
    def read_the_market(self) -> None:
        """Look at salaries and skills."""
        self.send("GET", f"/api/analytics/{self.chance.choice(('salaries', 'skills'))}", "/api/analytics/*")


class Scraper(Visitor):
    """A scraper that copies everything as fast as it can."""

    persona = "scraper"
    address_pool = (f"127.0.0.{n}" for n in itertools.count(150))
    wait_time = constant_throughput(24)

    def on_start(self) -> None:
        """Sign in as an ordinary user."""
        super().on_start()
        self.next_job = itertools.cycle(range(1, JOBS + 1))
        self.sign_in(USERS)

    @task(4)
    def copy_a_job(self) -> None:
        """Read one job after the other."""
        self.send("GET", f"/api/jobs/{next(self.next_job)}", "/api/jobs/<id>")

    @task(2)
    def scrape(self) -> None:
        """Have a career page read."""
        page = f"page-{self.chance.randint(1, COMPANIES)}"
        self.send("POST", "/api/scrape", json={"page": page})

    @task(1)
    def scrape_intelligently(self) -> None:
        """Have a career page read for keywords."""
        page = f"page-{self.chance.randint(1, COMPANIES)}"
        self.send("POST", "/api/intelligent-scrape", json={"page": page, "keywords": ["python", "sql"]})


class Abuser(Visitor):
    """An abuser that sends bursts, forges its address and tries random paths."""

    persona = "abuser"
    address_pool = (f"127.0.0.{n}" for n in itertools.count(200))
    wait_time = between(0.2, 0.6)
    burst = 10

    @task(3)
    def hammer_the_expensive(self) -> None:
        """Request analyses, each time with another forged address."""
        for _ in range(self.burst):
            wanted = {"job_ids": [self.any_job()]}
            self.send("POST", "/api/ai/analyze-jobs", json=wanted, headers=self._forged_headers())

    @task(1)
    def hammer_the_batch(self) -> None:
        """Request whole batches."""
        for _ in range(self.burst):
            self.send("POST", "/api/ai/batch-analyze", json={"count": 200}, headers=self._forged_headers())

    @task(3)
    def look_for_open_doors(self) -> None:
        """Try paths that are not there."""
        for _ in range(self.burst):
            door = self.chance.choice(("admin", "backup", "wp-login", ".env"))
            self.send(
                "GET",
                f"/{door}/{self.chance.getrandbits(32):x}",
                "/(random paths)",
                headers=self._forged_headers(),
            )

    def _forged_headers(self) -> dict[str, str]:
        claimed = ".".join(str(self.chance.randint(1, 254)) for _ in range(4))
        return {FORWARDED: claimed, "X-Real-IP": claimed, "Forwarded": f"for={claimed}"}


class Probe(Visitor):
    """A load balancer: asks for /health, more often than the default limit would allow."""

    persona = "health probe"
    address_pool = (f"127.0.0.{n}" for n in itertools.count(250))
    wait_time = constant_throughput(10)

    @task
    def health(self) -> None:
        """Ask whether the application lives."""
        self.send("GET", "/health")


def _refusal(visitor: Visitor, request: str, response: Response) -> Refusal:
    return Refusal(
        persona=visitor.persona,
        address=visitor.address,
        request=request,
        status=f"{response.status_code} {response.reason}",
        headers=list(response.headers.items()),
        body=response.text,
    )


PEOPLE = 8
_VISITORS: dict[type[Visitor], int] = {Person: PEOPLE, Probe: 1}
_ABUSERS: dict[type[Visitor], int] = {Scraper: 1, Abuser: 1}
CROWDS = {"everyone": {**_VISITORS, **_ABUSERS}, "visitors": _VISITORS, "abusers": _ABUSERS}
"""The clients of the job board, and how many there are of each kind."""
