"""Who is told of which alert, and which mutes which: the shipped configuration in the real Alertmanager."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from alert_rules import ALERTS, ROOT

from otel_ratelimit.demo.gunicorn_server import clean_environment
from otel_ratelimit.demo.ports import LOOPBACK, quiet_ports
from otel_ratelimit.demo.stack.alertmanager import alertmanager
from otel_ratelimit.demo.stack.collector import configuration_folder
from otel_ratelimit.demo.stack.http_client import ask
from otel_ratelimit.demo.stack.prometheus import hurried
from otel_ratelimit.demo.stack.running_program import RunningProgram

SHIPPED = configuration_folder() / "alertmanager" / "alertmanager.yml"
HOW_TO = (ROOT / "docs/how-to/alerts.md").read_text(encoding="utf-8")
HURRY = 20
"""A minute takes three seconds."""
REPEATING_HURRY = 720
"""An hour takes five seconds."""
MARGIN_SECONDS = 5
"""For a busy machine."""
SHOP = {"job": "shop", "deployment_environment_name": "production"}


def named(name, where=None, **labels):
    """The labels of an alert, `severity` and `subject` as its rule has them; None takes one away."""
    [rule, *_] = [rule for rule in ALERTS if rule.name == name]
    fixed = {"severity": rule.labels["severity"], "subject": rule.labels["subject"]}
    return changed({"alertname": name, **fixed, **(where or {})}, **labels)


def changed(labels, **others):
    return {name: value for name, value in {**labels, **others}.items() if value is not None}


class Notified:
    """A webhook, and what came to it."""

    def __init__(self):
        self._came = []
        notified = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                notified._came.append((self.path.strip("/"), time.monotonic(), body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def of(self, receiver, status="firing"):
        """When each message came, and the labels of its alerts."""
        return [
            (at, [alert["labels"] for alert in body["alerts"]])
            for name, at, body in list(self._came)
            if name == receiver and body["status"] == status
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Running:
    """An Alertmanager."""

    def __init__(self, folder, configuration):
        [self.port] = quiet_ports(1)
        program = alertmanager(self.port, folder, clean_environment(os.environ))
        command = [
            f"--config.file={configuration}" if argument.startswith("--config.file=") else argument
            for argument in program.launch.command
        ]
        assert f"--config.file={configuration}" in command
        self.program = RunningProgram(replace(program, launch=replace(program.launch, command=command)))

    def tell(self, *alerts, ended=False):
        """As Prometheus does of alerts that fire, or no longer do."""
        now = datetime.now(UTC)
        # Not earlier: what has fired for longer than group_wait is told at once.
        began, ends = (each.isoformat() for each in (now, now if ended else now + timedelta(minutes=10)))
        body = [{"labels": labels, "startsAt": began, "endsAt": ends} for labels in alerts]
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request(
                "POST", "/api/v2/alerts", json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
        finally:
            connection.close()

    def held(self, labels):
        """The alert as Alertmanager has it, or None."""
        found = [alert for alert in ask(self.port, "/api/v2/alerts") if alert["labels"] == labels]
        return found[0] if found else None

    def state(self, labels):
        held = self.held(labels)
        return held and held["status"]["state"]


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def amtool(installed):
    path = installed("amtool", "prometheus-alertmanager")

    def run(*arguments):
        return subprocess.run([path, *map(str, arguments)], check=False, capture_output=True, text=True)

    return run


@pytest.fixture
def start(installed, tmp_path):
    """`start(configuration)`: an Alertmanager."""
    installed("prometheus-alertmanager", "prometheus-alertmanager")
    programs = []

    def run(configuration=SHIPPED):
        running = Running(tmp_path, configuration)
        programs.append(running.program)
        running.program.wait_until_ready()
        return running

    yield run
    for program in programs:
        program.stop()


@pytest.fixture
def notified():
    webhook = Notified()
    yield webhook
    webhook.close()


@pytest.fixture
def start_telling(start, tmp_path, notified):
    """`start_telling(hurry)`: as shipped, with times that much shorter, and `notified` in every receiver."""

    def run(hurry):
        settings = yaml.safe_load(hurried(SHIPPED.read_text(encoding="utf-8"), hurry))
        for receiver in settings["receivers"]:
            assert set(receiver) == {"name"}
            receiver["webhook_configs"] = [{"url": f"{notified.url}/{receiver['name']}"}]
        configuration = tmp_path / "alertmanager.yml"
        configuration.write_text(yaml.safe_dump(settings))
        return start(configuration)

    return run


def times(receiver):
    """Seconds of group_wait, group_interval and repeat_interval on the way to `receiver`."""
    route = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["route"]
    [way] = [each for each in [route, *route["routes"]] if each["receiver"] == receiver]
    unit = {"s": 1, "m": 60, "h": 3600}
    given = [{**route, **way}[f"{name}"] for name in ("group_wait", "group_interval", "repeat_interval")]
    return [int(text[:-1]) * unit[text[-1]] for text in given]


def test_the_configuration_is_valid(amtool):
    finished = amtool("check-config", SHIPPED)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=critical", "critical"),
        ("severity=warning", "warning"),
        ("severity=info", "info"),
        ("severity=page", "warning"),
        ("alertname=WithoutSeverity", "warning"),
    ],
)
def test_each_severity_has_its_receiver_and_what_is_unknown_is_not_lost(amtool, labels, receiver):
    finished = amtool("config", "routes", "test", f"--config.file={SHIPPED}", labels)
    assert finished.stdout.split() == [receiver], finished.stderr


def test_rules_have_no_severity_without_a_receiver():
    receivers = {each["name"] for each in yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["receivers"]}
    assert {rule.labels["severity"] for rule in ALERTS} == receivers


def test_every_alert_that_the_configuration_names_exists():
    written = set(re.findall(r"\bRateLimit[A-Z]\w*", SHIPPED.read_text(encoding="utf-8")))
    assert written
    assert written <= {rule.name for rule in ALERTS}


def test_no_secret_can_be_in_the_configuration():
    receivers = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["receivers"]
    assert all(set(receiver) == {"name"} for receiver in receivers)


@dataclass(frozen=True)
class Muting:
    """`source` mutes `target`, and none of the others."""

    source: dict[str, str]
    target: dict[str, str]
    others: tuple[dict[str, str], ...]


def muting(source, target, *others):
    """Each of `others`: which labels of `target` are different, or another alert."""
    return Muting(source, target, tuple(o if "alertname" in o else changed(target, **o) for o in others))


OTHER_JOB = {"job": "blog"}
OTHER_ENVIRONMENT = {"deployment_environment_name": "staging"}
NO_ENVIRONMENT = {"deployment_environment_name": None}
OTHER_SUBJECT = {"subject": "policy"}
OTHER_CLUSTER = {"cluster": "other"}
ELSEWHERE = (OTHER_JOB, OTHER_ENVIRONMENT, NO_ENVIRONMENT, OTHER_CLUSTER)
COLLECTOR = {"job": "otel-collector", "instance": "one:8888"}
PAGE = {"job": "otel-ratelimit", "instance": "one:8889"}
SHOP_ANYWHERE = {"job": "shop"}
MUTINGS = {
    "critical_warning": muting(
        named("RateLimitMemoryCritical", SHOP, otel_ratelimit_storage="bounded-memory"),
        named("RateLimitMemoryHigh", SHOP, otel_ratelimit_storage="bounded-memory"),
        *ELSEWHERE, OTHER_SUBJECT, named("RateLimitStorageErrors", SHOP),
    ),
    "critical_warning_of_another_name": muting(
        named("RateLimitFailingClosed", SHOP),
        named("RateLimitStorageErrors", SHOP, otel_ratelimit_storage="redis"),
        *ELSEWHERE, OTHER_SUBJECT,
    ),
    "critical_warning_of_a_route": muting(
        named("RateLimitBlockedShareHigh", SHOP, window="1h"),
        named("RateLimitEndpointNearLimit", SHOP, http_route="/jobs"),
        *ELSEWHERE, OTHER_SUBJECT,
    ),
    "critical_info": muting(
        named("RateLimitBlockedShareHigh", SHOP, subject="clients"),
        named("RateLimitIdentityFallbacks", SHOP),
        *ELSEWHERE, OTHER_SUBJECT,
    ),
    "warning_info": muting(
        named("RateLimitClientLimitedWithoutEnd", SHOP),
        named("RateLimitIdentityFallbacks", SHOP, error_type="empty"),
        *ELSEWHERE, OTHER_SUBJECT, named("RateLimitRepeatedQueries", SHOP),
    ),
    "without_environment": muting(
        named("RateLimitMemoryCritical", SHOP_ANYWHERE), named("RateLimitMemoryHigh", SHOP_ANYWHERE),
        OTHER_JOB, OTHER_ENVIRONMENT, OTHER_SUBJECT,
    ),
    "collector_its_own": muting(
        named("RateLimitCollectorDown", COLLECTOR), named("RateLimitCollectorRestarting", COLLECTOR),
        {"instance": "two:8888"}, OTHER_CLUSTER, named("RateLimitMemoryHigh", SHOP),
    ),
    "collector_its_own_info": muting(
        named("RateLimitCollectorRefusing", COLLECTOR),
        named("RateLimitCollectorRestarting", COLLECTOR, severity="info"),
        {"instance": "two:8888"}, OTHER_CLUSTER,
    ),
    "collector_services": muting(
        named("RateLimitCollectorDown", COLLECTOR), named("RateLimitNoTelemetry", SHOP), OTHER_CLUSTER,
        named("RateLimitMemoryHigh", SHOP, job="blog"), named("RateLimitFailingClosed", SHOP, job="blog"),
    ),
    "collector_services_by_its_other_page": muting(
        named("RateLimitCollectorDown", PAGE), named("RateLimitNoTelemetry", SHOP_ANYWHERE), OTHER_CLUSTER,
    ),
    "collector_report_overdue": muting(
        named("RateLimitCollectorDown", PAGE), named("RateLimitReportOverdue", SHOP), OTHER_CLUSTER,
    ),
    "collector_report_missing": muting(
        named("RateLimitCollectorDown", PAGE), named("RateLimitReportMissing", SHOP), OTHER_CLUSTER,
    ),
    "silent_service_report": muting(
        named("RateLimitNoTelemetry", SHOP), named("RateLimitReportOverdue", SHOP), *ELSEWHERE,
    ),
    "silent_service_warning": muting(
        named("RateLimitNoTelemetry", SHOP), named("RateLimitBlockedShareElevated", SHOP, window="3d"),
        *ELSEWHERE, named("RateLimitMemoryCritical", SHOP),
    ),
    "silent_service_info": muting(
        named("RateLimitNoTelemetry", SHOP), named("RateLimitRepeatedQueries", SHOP, http_route="/jobs"),
        *ELSEWHERE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MUTINGS.values(), ids=MUTINGS)
def test_an_alert_mutes_what_it_explains_and_nothing_like_it(start, case):
    running = start()
    running.tell(case.target, *case.others, case.source)
    wait_for(lambda: running.state(case.target) == "suppressed")
    source = running.held(case.source)
    assert running.held(case.target)["status"]["inhibitedBy"] == [source["fingerprint"]]
    assert source["status"]["state"] == "active"
    assert [other for other in case.others if running.state(other) != "active"] == []


def test_a_silent_service_does_not_mute_itself(start):
    running = start()
    alone = named("RateLimitNoTelemetry", SHOP)
    muted = named("RateLimitReportOverdue", SHOP)
    running.tell(alone, changed(alone, replica="b"), muted)
    wait_for(lambda: running.state(muted) == "suppressed")
    assert running.state(alone) == "active"
    assert running.state(changed(alone, replica="b")) == "active"


def test_alerts_of_others_are_left_alone_and_leave_ours_alone(start):
    running = start()
    others = [
        {"alertname": "DiskTrouble", "severity": severity, **SHOP}
        for severity in ("critical", "warning", "info")
    ]
    critical = named("RateLimitMemoryCritical", SHOP, subject=None)
    warning = named("RateLimitMemoryHigh", SHOP, subject=None)
    info = named("RateLimitRepeatedQueries", SHOP, subject=None)
    silent = named("RateLimitNoTelemetry", SHOP)

    running.tell(*others, critical, silent, warning, info)
    wait_for(lambda: [running.state(each) for each in (warning, info)] == ["suppressed"] * 2)
    assert [running.state(each) for each in others] == ["active"] * 3
    running.tell(critical, silent, ended=True)
    wait_for(lambda: [running.state(each) for each in (warning, info)] == ["active", "suppressed"])
    assert [running.state(each) for each in others] == ["active"] * 3
    running.tell(warning, ended=True)
    wait_for(lambda: running.state(info) == "active")


def test_what_was_muted_is_back_when_what_muted_it_is_over(start):
    running = start()
    cause, effect = named("RateLimitCollectorDown", COLLECTOR), named("RateLimitNoTelemetry", SHOP)
    running.tell(cause, effect)
    wait_for(lambda: running.state(effect) == "suppressed")
    running.tell(cause, ended=True)
    wait_for(lambda: running.state(effect) == "active")


def test_intervals_grow_as_severity_falls():
    critical, warning, info = times("critical"), times("warning"), times("info")
    hour = 3600
    assert [each[2] for each in (critical, warning, info)] == [hour, 4 * hour, 24 * hour]
    assert all(a < b < c for a, b, c in zip(critical, warning, info, strict=True))
    assert critical[0] <= 30


@pytest.mark.parametrize("receiver", ["critical", "warning", "info"])
def test_the_how_to_gives_the_intervals_as_they_are(receiver):
    [row] = re.findall(rf"^\|.*\| `{receiver}` \| (.*) \| (.*) \| (.*) \|$", HOW_TO, re.MULTILINE)
    seconds = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
    said = [re.fullmatch(r"(?:an? |(\d+) )?(\w+?)s?", cell) for cell in row]
    wait, repeat, interval = (int(each[1] or 1) * seconds[each[2]] for each in said)
    assert [wait, interval, repeat] == times(receiver)


def test_a_critical_alert_is_told_within_group_wait_in_groups_and_so_is_its_end(start_telling, notified):
    group_wait, group_interval, _ = (seconds / HURRY for seconds in times("critical"))
    group = [named("RateLimitBlockedShareHigh", SHOP, window=window) for window in ("1h", "6h")]
    others = [
        changed(group[0], job="blog"),
        changed(group[0], deployment_environment_name="staging"),
        named("RateLimitFailingClosed", SHOP),
    ]
    running = start_telling(HURRY)

    began = time.monotonic()
    running.tell(group[0], *others)
    running.tell(group[1])
    wait_for(lambda: len(notified.of("critical")) == 4, group_wait + MARGIN_SECONDS)
    messages = notified.of("critical")
    assert min(at for at, _ in messages) >= began + group_wait - 0.1
    assert sorted((alerts for _, alerts in messages), key=str) == sorted(
        [group, *([each] for each in others)], key=str
    )

    running.tell(*group, *others, ended=True)
    wait_for(lambda: len(notified.of("critical", "resolved")) == 4, group_interval + MARGIN_SECONDS)
    assert sorted((alerts for _, alerts in notified.of("critical", "resolved")), key=str) == sorted(
        (alerts for _, alerts in messages), key=str
    )
    assert notified.of("warning") == notified.of("info") == []


def test_a_critical_alert_is_told_again_each_hour_and_others_are_not(start_telling, notified):
    repeat = times("critical")[2] / REPEATING_HURRY
    running = start_telling(REPEATING_HURRY)
    running.tell(
        named("RateLimitMemoryCritical", SHOP),
        named("RateLimitPolicyRefused", SHOP),
        named("RateLimitRepeatedQueries", SHOP),
    )
    wait_for(lambda: len(notified.of("critical")) == 2, repeat + MARGIN_SECONDS)
    (first, _), (second, _) = notified.of("critical")
    assert second - first >= repeat - 0.1
    assert len(notified.of("warning")) == len(notified.of("info")) == 1


def test_what_is_muted_is_not_told(start_telling, notified):
    running = start_telling(HURRY)
    running.tell(named("RateLimitMemoryCritical", SHOP), named("RateLimitMemoryHigh", SHOP))
    told = named("RateLimitMemoryHigh", SHOP, job="blog")
    running.tell(told)
    wait_for(
        lambda: notified.of("critical") and notified.of("warning"),
        times("warning")[0] / HURRY + MARGIN_SECONDS,
    )
    assert [alerts for _, alerts in notified.of("warning")] == [[told]]


def blocks(language):
    """The pieces of code in the how-to."""
    return re.findall(rf"^```{language}\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_receivers_of_the_how_to_are_valid_in_place_of_the_shipped_ones(amtool, tmp_path, block):
    settings = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    [receiver] = yaml.safe_load(block)
    assert set(receiver) > {"name"}
    names = [each["name"] for each in settings["receivers"]]
    settings["receivers"][names.index(receiver["name"])] = receiver
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(yaml.safe_dump(settings))
    finished = amtool("check-config", configuration)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_commands_of_the_how_to_do_what_it_says(start, amtool, tmp_path):
    running = start()
    commands = "\n".join(block for block in blocks("sh") if re.search(r"^am ", block, re.MULTILINE))
    finished = subprocess.run(
        ["bash", "-euc", commands.replace(":9093", f":{running.port}")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "USER": "operator"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr

    said = [re.split(r" {2,}", line.strip()) for line in finished.stdout.splitlines()]
    assert [[each[0], each[-1]] for each in said if each[0].startswith("RateLimit")] == [
        ["RateLimitMemoryCritical", "active"],
        ["RateLimitMemoryHigh", "suppressed"],
    ]
    silences = ask(running.port, "/api/v2/silences")
    assert {each["id"] for each in silences} == {each[0] for each in said if "operator" in each}
    assert [each["status"]["state"] for each in silences] == ["expired"] * 2
