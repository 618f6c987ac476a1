"""The shipped configuration of Alertmanager, and alerts as Prometheus sends them."""

from __future__ import annotations

from alert_rules import ALERTS, ROOT

from otel_ratelimit.demo.stack.collector import configuration_folder

SHIPPED = configuration_folder() / "alertmanager" / "alertmanager.yml"
HOW_TO = (ROOT / "docs/how-to/alerts.md").read_text(encoding="utf-8")
SHOP = {"job": "shop", "deployment_environment_name": "production"}


def named(name, where=None, **labels):
    """The labels of an alert, `severity` and `subject` as its rule has them; None takes one away."""
    [rule, *_] = [rule for rule in ALERTS if rule.name == name]
    fixed = {"severity": rule.labels["severity"], "subject": rule.labels["subject"]}
    return changed({"alertname": name, **fixed, **(where or {})}, **labels)


def changed(labels, **others):
    return {name: value for name, value in {**labels, **others}.items() if value is not None}
