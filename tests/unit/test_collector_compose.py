"""compose.yaml needs Docker, so its parts are held against what they point at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COLLECTOR = ROOT / "collector"
COMPOSE = COLLECTOR / "compose.yaml"
TEXT = COMPOSE.read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
ADDRESS = re.compile(r"\b([a-z]+):(\d{4,5})\b")


def load(name: str):
    return yaml.safe_load((COLLECTOR / name).read_text(encoding="utf-8"))


def listens(service: str) -> set[int]:
    """Ports that a service serves inside."""
    if service == "collector":
        addresses = ("OTELCOL_OTLP_GRPC", "OTELCOL_OTLP_HTTP", "OTELCOL_PROMETHEUS", "OTELCOL_HEALTH")
        given = SERVICES[service]["environment"]
        return {8888, *(int(given[name].rpartition(":")[2]) for name in addresses)}
    return {
        "tempo": {3200, 4317},
        "prometheus": {9090},
        "alertmanager": {9093},
        "grafana": {3000},
        "postgres": {5432},
        "application": {8000},
    }.get(service, set())


def volumes() -> list[tuple[str, str, str, str]]:
    """Service, source, target and mode of each mount of a path."""
    return [
        (service, *parts, *[""] * (3 - len(parts)))
        for service, definition in SERVICES.items()
        for parts in (volume.split(":") for volume in definition.get("volumes", []))
        if parts[0].startswith(".")
    ]


@pytest.mark.parametrize(("service", "source", "target", "mode"), volumes())
def test_what_is_mounted_is_there_and_cannot_be_written(service, source, target, mode):
    assert (COLLECTOR / source).exists()
    assert mode == "ro"


def test_the_database_counts_as_healthy_once_others_can_reach_it():
    """The image's own start asks the socket alone of a server that it stops again."""
    assert "--host=127.0.0.1" in SERVICES["postgres"]["healthcheck"]["test"]


def test_named_volumes_are_declared():
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }

    assert used == set(load("compose.yaml")["volumes"])


def test_images_have_a_version():
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    pulled = {service["image"] for service in SERVICES.values()} - built
    bases = re.findall(
        r"^FROM (\S+)", "".join(path.read_text() for path in COLLECTOR.glob("*Dockerfile")), re.MULTILINE
    )

    assert built == {"otel-ratelimit-collector", "otel-ratelimit-demo"}
    for image in pulled | set(bases):
        assert re.search(r":v?\d+\.\d+|:nonroot$", image), image


def test_nothing_is_published_beyond_this_machine():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_published_ports_are_served():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert int(port.rpartition(":")[2]) in listens(name), (name, port)


def test_every_address_within_is_one_that_a_service_listens_on():
    places = [TEXT, (COLLECTOR / "prometheus/prometheus.yml").read_text(encoding="utf-8")]
    found = [
        (host, int(port)) for place in places for host, port in ADDRESS.findall(place) if host in SERVICES
    ]

    assert {host for host, _ in found} >= {"collector", "alertmanager", "prometheus", "tempo", "postgres"}
    assert [address for address in found if address[1] not in listens(address[0])] == []


def test_tempo_listens_where_it_is_sent_to():
    tempo = load("tempo/tempo.yaml")

    assert tempo["server"]["http_listen_port"] == 3200
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "0.0.0.0:4317"
    sender = SERVICES["collector"]["environment"]
    assert sender["OTELCOL_TRACES_ENDPOINT"] == "http://tempo:4317"
    assert sender["OTELCOL_TRACES_INSECURE"] == "true"


def test_the_collector_knows_every_setting_that_it_is_given():
    known = "".join(path.read_text(encoding="utf-8") for path in COLLECTOR.glob("*.yaml") if path != COMPOSE)
    given = {name for name in SERVICES["collector"]["environment"] if name != "GOMEMLIMIT"}

    assert all(f"${{env:{name}" in known for name in given)


def test_grafana_gets_every_variable_that_its_provisioning_reads_and_no_other():
    files = (COLLECTOR / "grafana").rglob("*.yaml")
    read = {
        name for path in files for name in re.findall(r"(?<!\$)\$\{(\w+)\}", path.read_text(encoding="utf-8"))
    }
    given = {name for name in SERVICES["grafana"]["environment"] if name.startswith("OTEL_")}

    assert given == read


def test_passwords_come_from_outside():
    needed = set(re.findall(r"\$\{(\w+)", TEXT))

    assert re.findall(r"\$\{(\w+)\}", TEXT) == []
    readme = (COLLECTOR / "README.md").read_text(encoding="utf-8")
    assert needed == set(re.findall(r"for name in (.*); do", readme)[0].split())


def test_services_wait_for_services_that_there_are():
    waited = {other for service in SERVICES.values() for other in service.get("depends_on", [])}

    assert waited <= set(SERVICES)


def test_every_container_of_ours_is_hardened():
    for name, service in SERVICES.items():
        if not service["image"].startswith("postgres:"):
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name


def test_the_demo_is_where_the_image_looks_for_it():
    demo = ROOT / "otel_ratelimit" / "demo"

    assert (demo / "ratelimit.toml").is_file()
    assert (demo / "jobs_app" / "app.py").is_file()
    dockerfile = (COLLECTOR / "app.Dockerfile").read_text(encoding="utf-8")
    copied = (COLLECTOR / "app.Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert "/demo" in dockerfile
    for name in re.findall(r"^!(\S+)", copied, re.MULTILINE):
        assert (ROOT / name).exists(), name
