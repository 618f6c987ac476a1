"""When Alertmanager sends a notification, and when it repeats one."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from alertmanagers import HOW_TO, SHIPPED, SHOP, changed, named
from waiting import wait_for

from otel_ratelimit.demo.ports import LOOPBACK
from otel_ratelimit.demo.stack.prometheus import hurried

HURRY = 20
"""A minute takes three seconds."""
REPEATING_HURRY = 720
"""An hour takes five seconds."""
MARGIN_SECONDS = 5
"""Extra time for a busy machine."""


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
