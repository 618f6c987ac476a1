"""Limits hold whatever goes wrong in OpenTelemetry's auto-instrumentation, or the process does not serve."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
from variants import quick_first

from otel_ratelimit.core import names

POLICY = """
version = 1
[tiers]
default = "3/minute"
"""
APP = """
import flask

app = flask.Flask(__name__)

@app.get("/thing")
def thing():
    return "ok"

@app.get("/health")
def health():
    return "ok"

if __name__ == "__main__":
    import sys
    app.run(port=int(sys.argv[1]))
"""
BINARIES = Path(sys.executable).parent
COMMANDS = {
    "gunicorn": None,
    "python": (sys.executable, "app.py", "{port}"),
    "flask-run": (str(BINARIES / "flask"), "run", "--port", "{port}"),
}
RAISES = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Broken(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ()
    def _instrument(self, **kwargs):
        {statement}
    def _uninstrument(self, **kwargs):
        pass
"""
CONFIGURATOR = """
class Broken:
    def configure(self, **kwargs):
        raise RuntimeError("no configuration today")
"""
DISTRO = """
from opentelemetry.instrumentation.distro import BaseDistro

class Broken(BaseDistro):
    def _configure(self, **kwargs):
        raise RuntimeError("no distribution today")
"""
HOLDS = "OpenTelemetry's auto-instrumentation failed"


@pytest.fixture
def package(tmp_path):
    """Installs a module `aa_broken` with one entry point; gives the environment that finds it first."""

    def install(group, source, name="aa_broken"):
        folder = tmp_path / "packages"
        metadata = folder / "aa_broken-1.0.dist-info"
        metadata.mkdir(parents=True)
        (folder / "aa_broken.py").write_text(textwrap.dedent(source))
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: aa-broken\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = aa_broken:Broken\n")
        return {"PYTHONPATH": str(folder)}

    return install


def assert_limited(server):
    assert [server.get("/thing")[0] for _ in range(5)] == [200] * 3 + [429] * 2


@pytest.fixture(
    params=[
        pytest.param(name, id=name, marks=() if name == "gunicorn" else pytest.mark.full) for name in COMMANDS
    ]
)
def command(request):
    return COMMANDS[request.param]


@pytest.mark.parametrize(
    ("group", "source"),
    quick_first(
        [
            ("opentelemetry_instrumentor", RAISES.format(statement="raise RuntimeError('no instrument')")),
            ("opentelemetry_configurator", CONFIGURATOR),
        ]
    ),
    ids=["instrumentor-raises", "configurator-raises"],
)
def test_limits_hold_where_a_part_of_another_raises(serve, package, command, group, source):
    server = serve(policy=POLICY, app=APP, environ=package(group, source), command=command)
    assert_limited(server)
    assert "Failed to auto initialize OpenTelemetry" in server.log
    assert server.log.count(HOLDS) == 1


def test_limits_hold_where_an_exporter_is_not_installed(serve, command):
    server = serve(
        policy=POLICY, app=APP, environ={"OTEL_TRACES_EXPORTER": "no-such-exporter"}, command=command
    )
    assert_limited(server)
    assert server.log.count(HOLDS) == 1


def test_an_empty_name_of_a_distro_is_none(serve):
    broken = {"OTEL_TRACES_EXPORTER": "no-such-exporter", "OTEL_PYTHON_DISTRO": ""}
    assert_limited(serve(policy=POLICY, app=APP, environ=broken))


def test_metrics_still_arrive_where_another_instrumentor_raises(serve, package, telemetry):
    broken = package(
        "opentelemetry_instrumentor", RAISES.format(statement="raise RuntimeError('no instrument today')")
    )
    server = serve(policy=POLICY, app=APP, environ=broken)
    assert_limited(server)
    server.stop()
    counted = {}
    for point in telemetry.points(names.REQUESTS):
        decision = point.attributes[names.DECISION]
        counted[decision] = counted.get(decision, 0) + point.value
    assert (counted["allowed"], counted["blocked"]) == (3, 2)


@pytest.mark.full
@pytest.mark.parametrize("distro", ["distro", "no-such-distro", None])
def test_another_distro_of_the_operator_is_left_alone_and_instrumentors_may_still_raise(
    serve, package, distro
):
    broken = package("opentelemetry_instrumentor", RAISES.format(statement="raise RuntimeError"))
    assert_limited(serve(policy=POLICY, app=APP, environ={**broken, "OTEL_PYTHON_DISTRO": distro}))


def test_limits_hold_where_another_distro_comes_first_and_raises(serve, package):
    server = serve(policy=POLICY, app=APP, environ=package("opentelemetry_distro", DISTRO))
    assert_limited(server)
    assert "no distribution today" in server.log


@pytest.mark.full
@pytest.mark.parametrize("statement", ["import sys; sys.exit(3)", "raise KeyboardInterrupt"])
def test_an_instrumentor_that_ends_the_process_ends_it_before_it_serves(serve, package, statement):
    server = serve(
        policy=POLICY,
        app=APP,
        environ=package("opentelemetry_instrumentor", RAISES.format(statement=statement)),
        ready=False,
    )
    server.wait_until(lambda: server.process.poll() is not None, "the end of the server")
    assert server.process.returncode != 0


@pytest.mark.full
@pytest.mark.parametrize(
    "environ",
    [{"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flask, otel_ratelimit"}, {"OTEL_RATELIMIT_ENABLED": "false"}],
)
def test_it_can_be_switched_off_all_the_same(serve, package, environ):
    broken = package("opentelemetry_instrumentor", RAISES.format(statement="raise RuntimeError"))
    server = serve(policy=POLICY, app=APP, environ={**broken, **environ})
    assert [server.get("/thing")[0] for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(
    ("environ", "policy", "said"),
    quick_first(
        [
            ({}, "", "there is no policy file, so nothing would be limited"),
            ({"OTEL_RATELIMIT_ENABLED": "false"}, POLICY, "contradicts OTEL_RATELIMIT_ENABLED=false"),
            (
                {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_ratelimit"},
                POLICY,
                "contradicts OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            ),
            (
                {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
                POLICY,
                "contradicts OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            ),
        ],
        2,
    ),
    ids=["no-policy", "disabled", "switched-off", "all-switched-off"],
)
def test_where_limits_are_required_nothing_starts_without_them(serve, command, environ, policy, said):
    server = serve(
        policy=policy,
        app=APP,
        environ={**environ, "OTEL_RATELIMIT_REQUIRED": "true"},
        command=command,
        ready=False,
    )
    server.wait_until(lambda: server.process.poll() is not None, "the end of the server")
    assert server.process.returncode != 0
    assert said in server.log


@pytest.mark.full
@pytest.mark.parametrize("entry", ["distro", "pre_instrument"])
def test_where_flask_cannot_be_instrumented_a_process_that_requires_limits_ends(serve, tmp_path, entry):
    folder = tmp_path / "patched"
    folder.mkdir()
    # As if another release of Flask were installed, which has no such module.
    (folder / "flask.py").write_text("class Flask: ...\n")
    environ = {
        "PYTHONPATH": str(folder),
        "OTEL_RATELIMIT_REQUIRED": "true",
        "OTEL_PYTHON_DISTRO": None if entry == "distro" else "distro",
    }
    server = serve(policy=POLICY, app=APP, environ=environ, ready=False)
    server.wait_until(lambda: server.process.poll() is not None, "the end of the server")
    assert server.process.returncode != 0
    assert "rate limits are NOT active" in server.log


def test_variables_can_be_given_as_options_and_secrets_cannot(serve):
    instrument = BINARIES / "opentelemetry-instrument"
    server = serve(policy=POLICY, app=APP, below=(str(instrument), "--ratelimit_shadow", "true"))
    assert [server.get("/thing")[0] for _ in range(5)] == [200] * 5
    with os.popen(f"{instrument} --help") as stream:
        told = stream.read()
    assert "--ratelimit_required" in told
    assert "--ratelimit_admin_token" not in told
