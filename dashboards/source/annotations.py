"""Changes drawn over every graph: the policy in force, refused policies, new versions."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard

from dashboards.source import promql
from dashboards.source.foreign import TARGET_INFO
from dashboards.source.instruments import label
from dashboards.source.variables import PROMETHEUS
from otel_ratelimit.core import names

_NEW_FOR: Final = "2m"
"""How long a change is shown as new; longer than the pause between two exports."""
_HASH: Final = label(names.POLICY_HASH)


def changes() -> list[dashboard.AnnotationQuery]:
    """Each can be switched off at the top of a dashboard."""
    decides = promql.ours(names.POLICY_INFO)
    refused = promql.ours(names.POLICY_RELOADS, promql.equals(names.OUTCOME, "refused"))
    runs = f'{promql.foreign(TARGET_INFO)}{{{promql.OF_PROCESSES},service_version!=""}}'
    return [
        _annotation(
            "Policies",
            f"max by (job, {_HASH}) ({decides} == 1)"
            f" unless max by (job, {_HASH}) ({decides} offset {_NEW_FOR} == 1)",
            "{{job}}: another policy in force",
            f"{{{{{_HASH}}}}}",
            "blue",
        ),
        _annotation(
            "Refused policies",
            f"sum by (job) (increase({refused}[{_NEW_FOR}])) > 0",
            "{{job}}: policy refused",
            "The former policy stays in force; the log says what is wrong with the new one.",
            "orange",
        ),
        _annotation(
            "Deployments",
            f"count by (job, service_version) ({runs})"
            f" unless count by (job, service_version) ({runs} offset {_NEW_FOR})",
            "{{job}}: deployed",
            "{{service_version}}",
            "purple",
        ),
    ]


class _ShownAnnotation(dashboard.AnnotationQuery):
    """An annotation with its switch at the top of the dashboard; the SDK's own class puts it in a menu."""

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
