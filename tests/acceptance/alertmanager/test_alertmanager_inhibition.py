"""Which alert mutes which, in the real Alertmanager with the shipped configuration."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from alertmanagers import SHOP, changed, named
from waiting import wait_for


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
