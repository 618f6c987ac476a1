"""The collector's files agree with each other, with the code and with what is said of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from otel_ratelimit.core import names
from otel_ratelimit.demo.stack.collector import OVERRIDE

ROOT = Path(__file__).parents[2]
COLLECTOR = ROOT / "collector"
CONFIGURATIONS = [
    COLLECTOR / f"{name}.yaml" for name in ("privacy", "base", "node", "agent", "gateway", "tls")
]
VARIABLE = re.compile(r"\$\{env:(OTELCOL_[A-Z_]+)")
ON_SPANS = {
    names.HTTP_ROUTE, names.HTTP_REQUEST_METHOD, names.ERROR_TYPE, names.TIER, names.DECISION, names.LIMIT,
    names.REMAINING, names.CLIENT, names.REPORT_DATE,
}  # fmt: skip
NOT_ON_METRICS = {names.REMAINING, names.CLIENT, names.REPORT_DATE, names.EXECUTIONS}


def load(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def variables(path: Path) -> set[str]:
    return set(VARIABLE.findall(path.read_text(encoding="utf-8")))


def allowed(statements: str, of: str) -> set[str]:
    """Keys that `keep_keys` leaves."""
    kept = re.findall(rf"keep_keys\({of}\.attributes, \[(.*?)\]\)", statements)
    return {key for keys in kept for key in re.findall(r'"(.*?)"', keys)}


def test_every_attribute_of_the_plugin_may_leave():
    text = (COLLECTOR / "privacy.yaml").read_text(encoding="utf-8")
    source = Path(names.__file__).read_text(encoding="utf-8")
    section = source.partition("# Attributes")[2].partition("# Attributes of log lines")[0]
    attributes = {vars(names)[name] for name in re.findall(r"^([A-Z_]+): Final", section, re.MULTILINE)}

    assert names.DECISION in attributes
    assert allowed(text, "datapoint") >= attributes - NOT_ON_METRICS
    assert allowed(text, "span") >= ON_SPANS
    assert names.EXECUTIONS in allowed(text, "spanevent")


def test_each_key_that_may_stay_has_a_shape_for_its_values():
    text = (COLLECTOR / "privacy.yaml").read_text(encoding="utf-8")
    for of in ("resource", "span", "spanevent", "datapoint"):
        for key in allowed(text, of) - {"db.query.text"}:
            assert re.search(rf'where .*Is(Match|Int)\({of}\.attributes\["{re.escape(key)}"\]', text), (
                of,
                key,
            )


def test_every_setting_is_in_the_readme_and_no_other():
    read = set().union(*map(variables, CONFIGURATIONS))
    documented = set(re.findall(r"\bOTELCOL_[A-Z_]+", (COLLECTOR / "README.md").read_text(encoding="utf-8")))

    assert documented == read | {OVERRIDE}


def test_the_readme_has_the_defaults():
    readme = (COLLECTOR / "README.md").read_text(encoding="utf-8")
    settings = readme.partition("## Settings")[2].partition("\n## ")[0].splitlines()
    for path in CONFIGURATIONS:
        text = path.read_text(encoding="utf-8")
        for name, default in re.findall(r"\$\{env:(OTELCOL_[A-Z_]+):-([^}]+)\}", text):
            if not name.endswith("_NAMES") and default != "[]":
                [row] = [
                    line for line in settings if line.startswith("| ") and f"`{name}`" in line.split("|")[1]
                ]
                assert f"`{default}`" in row, name


def test_all_components_are_of_one_release():
    manifest = load(COLLECTOR / "builder.yaml")
    versions = {
        component["gomod"].split()[1]
        for kind, components in manifest.items()
        if kind not in {"dist", "providers"}
        for component in components
    }

    assert len(versions) == 1


def test_grafana_is_told_what_the_dashboards_ask_for():
    sources = load(COLLECTOR / "grafana/provisioning/datasources/otel-ratelimit.yaml")["datasources"]
    kinds = {source["uid"]: source["type"] for source in sources}
    [prometheus] = [source for source in sources if source["type"] == "prometheus"]
    [exemplars] = prometheus["jsonData"]["exemplarTraceIdDestinations"]

    assert kinds == {
        "otel-ratelimit-prometheus": "prometheus",
        "otel-ratelimit-postgres": "grafana-postgresql-datasource",
        "otel-ratelimit-tempo": "tempo",
    }
    assert exemplars["datasourceUid"] == "otel-ratelimit-tempo"
    interval = load(COLLECTOR / "prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert prometheus["jsonData"]["timeInterval"] == interval


@pytest.mark.parametrize("unit", ["otelcol-ratelimit.service", "Dockerfile"])
def test_it_is_started_as_the_python_class_starts_it(unit):
    from otel_ratelimit.demo.stack.collector import CONFIGURATIONS as ROLES  # needs the extra `demo`
    from otel_ratelimit.demo.stack.collector import FEATURE_GATES  # as above

    text = (COLLECTOR / unit).read_text(encoding="utf-8")

    assert all(gate in text for gate in FEATURE_GATES)
    assert re.findall(r"--config=/etc/otelcol-ratelimit/(\w+)\.yaml", text) == list(ROLES["node"])
