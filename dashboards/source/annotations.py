"""What changed and when, drawn over every graph: the policy in force, refused policies, new versions."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards.source import promql
from dashboards.source.foreign import TARGET_INFO
from dashboards.source.instruments import label
from dashboards.source.variables import PROMETHEUS
from otel_ratelimit import names

_NEW_FOR: Final = "2m"
"""How long something is shown as new; longer than the pauses between exports."""
_HASH: Final = label(names.POLICY_HASH)


def changes() -> list[dashboard.AnnotationQuery]:
    """Each can be switched off at the top of a dashboard."""
    in_force = f"sum by (job, {_HASH}) ({promql.ours(names.POLICY_INFO)})"
    refused = promql.ours(names.POLICY_RELOADS, promql.equals(names.OUTCOME, "refused"))
    version = f"count by (job, service_version) ({_versions()})"
    return [
        _annotation(
            "Policies",
            f"({in_force} > 0) unless ({in_force} offset {_NEW_FOR} > 0)",
            "{{job}}: another policy in force",
            f"{{{{{_HASH}}}}}",
            "blue",
        ),
        _annotation(
            "Refused policies",
            f"sum by (job) (increase({refused}[{_NEW_FOR}])) > 0",
            "{{job}}: policy refused",
            "The former one stays in force; the log says what is wrong with the new one.",
            "orange",
        ),
        _annotation(
            "Deployments",
            f"{version} unless {version} offset {_NEW_FOR}",
            "{{job}}: deployed",
            "{{service_version}}",
            "purple",
        ),
    ]


def _versions() -> str:
    return f'{promql.foreign(TARGET_INFO)}{{{promql.OF_PROCESSES},service_version!=""}}'


class _ShownAnnotation(dashboard.AnnotationQuery):
    """With its switch at the top of the dashboard; the SDK's own have it in a menu."""

    def to_json(self) -> dict[str, object]:
        return {name: value for name, value in super().to_json().items() if name != "placement"}


def _annotation(name: str, expr: str, title: str, text: str, color: str) -> dashboard.AnnotationQuery:
    return _ShownAnnotation(
        name=name,
        datasource=PROMETHEUS,
        enable=True,
        icon_color=color,
        expr=expr,
        step="1m",
        title_format=title,
        text_format=text,
    )
