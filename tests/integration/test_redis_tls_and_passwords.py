"""TLS to one server, to a cluster and through Sentinel, and passwords, with certificates made here."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import flask
import pytest
from redis import Redis

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

pytestmark = pytest.mark.full

POLICY = """
version = 1
[tiers]
default = "3/minute; 100/hour"
"""
PAGE = (Path(__file__).parents[2] / "docs/how-to/redis.md").read_text()
OF_SERVER, OF_SENTINEL = "p@ss/of server%41", "another:of sentinel"
IN_URI = "p%40ss%2Fof%20server%2541"
families = pytest.mark.parametrize("family", ["redis", "valkey"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory, program):
    """A folder with ca.pem, key.pem and cert.pem of 127.0.0.1 that it signed, and other.pem."""
    program("openssl")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ["-newkey", "rsa:2048", "-nodes"]
    for authority in ("ca", "other"):
        made = ["-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-days", "2"]
        openssl("req", "-x509", *new, *made, "-subj", f"/CN={authority}")
    openssl("req", *new, "-keyout", "key.pem", "-out", "request", "-subj", "/CN=server")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    openssl("x509", "-req", "-in", "request", *signed, "-out", "cert.pem")
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory, certificates, program):
    """`start(*options)`: Debian's Redis, which is built with TLS; `tls=True` serves nothing else."""
    redis_server = program("redis-server")
    running = []

    def run(*options, tls=True, configuration=None):
        folder = tmp_path_factory.mktemp("server")
        if configuration is not None:
            (folder / "own.conf").write_text(configuration)
            options = ("--sentinel", *options)
        own = [str(folder / "own.conf")] if configuration is not None else []
        ports = (
            ["--tls-port", "{port}", "--port", "0", *tls_options(certificates)]
            if tls
            else ["--port", "{port}"]
        )
        server = redis_server(*own, *ports, "--bind", "127.0.0.1", "--dir", str(folder), *options)
        server.start()
        running.append(server)
        return server

    yield run
    for server in running:
        server.stop()


def tls_options(certificates):
    return [
        *("--tls-cert-file", str(certificates / "cert.pem")),
        *("--tls-key-file", str(certificates / "key.pem")),
        *("--tls-ca-cert-file", str(certificates / "ca.pem")),
        *("--tls-auth-clients", "no", "--tls-replication", "yes"),
    ]


def admin(server, certificates, **options):
    trusted = str(certificates / "ca.pem")
    return Redis("127.0.0.1", server.port, ssl=True, ssl_ca_certs=trusted, retry=None, **options)


def until(question, seconds=20):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def statuses(uri, options, times=4, **arguments):
    """The answers of an application that counts there; 503 is tried again, since a machine may be busy."""
    app = flask.Flask("app")
    app.add_url_rule("/", "index", lambda: "ok")
    with ExitStack() as stack:
        rate_limit = RateLimit(
            app,
            policy=parse_policy(POLICY, "tls.toml"),
            storage_uri=uri,
            environ={"OTEL_RATELIMIT_STORAGE_OPTIONS": json.dumps(options), "OTEL_SERVICE_NAME": uri},
            **arguments,
        )
        stack.callback(rate_limit.close)
        client = app.test_client()
        deadline = time.monotonic() + 20
        answers = []
        while len(answers) < times:
            answer = client.get("/").status_code
            if answer == 503 and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            answers.append(answer)
        return answers


LIMITED = [200, 200, 200, 429]


@families
def test_one_server_by_tls(start, certificates, family):
    server = start("--requirepass", OF_SERVER)
    uri = f"{family}s://:{IN_URI}@127.0.0.1:{server.port}/0"
    assert statuses(uri, {"ssl_ca_certs": str(certificates / "ca.pem"), "db": 0}) == LIMITED


@families
def test_a_certificate_that_nobody_trusted_signed_is_refused(start, certificates, family, caplog):
    server = start()
    app = flask.Flask("app")
    app.add_url_rule("/", "index", lambda: "ok")
    rate_limit = RateLimit(
        app,
        policy=parse_policy(POLICY, "tls.toml"),
        storage_uri=f"{family}s://127.0.0.1:{server.port}",
        storage_options={"ssl_ca_certs": str(certificates / "other.pem")},
        environ={},
    )
    assert app.test_client().get("/").status_code == 503
    rate_limit.close()
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


@pytest.fixture(scope="module")
def cluster(start, certificates):
    """The ports of three nodes by TLS, joined, with a password."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        buses = [probe.getsockname()[1] for probe in probes]
    nodes = [
        start(
            *("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(bus)),
            *("--requirepass", OF_SERVER),
        )
        for bus in buses
    ]
    asked = [admin(node, certificates, password=OF_SERVER) for node in nodes]
    share = 16_384 // 3
    for at, node in enumerate(asked):
        node.execute_command("CLUSTER ADDSLOTSRANGE", at * share, 16_383 if at == 2 else (at + 1) * share - 1)
        if at:
            asked[0].execute_command("CLUSTER MEET", "127.0.0.1", nodes[at].port, buses[at])
    joined = {"cluster_state": "ok", "cluster_known_nodes": "3"}
    until(lambda: all(joined.items() <= node.cluster("info").items() for node in asked))
    return [node.port for node in nodes]


@families
def test_a_cluster_by_tls_with_a_password(cluster, certificates, family):
    hosts = ",".join(f"127.0.0.1:{port}" for port in cluster)
    uri = f"{family}s+cluster://:{IN_URI}@{hosts}"
    assert statuses(uri, {"ssl_ca_certs": str(certificates / "ca.pem"), "max_connections": 20}) == LIMITED


@families
def test_a_cluster_by_tls_is_also_an_option_of_the_plain_scheme(cluster, certificates, family):
    uri = f"{family}+cluster://127.0.0.1:{cluster[0]}"
    options = {"ssl": True, "ssl_ca_certs": str(certificates / "ca.pem"), "password": OF_SERVER}
    assert statuses(uri, options) == LIMITED


def watching(server, *, requirepass="", tls=False):
    return "\n".join(
        [
            *(["tls-replication yes"] if tls else []),
            f"sentinel monitor shop 127.0.0.1 {server.port} 1",
            f'sentinel auth-pass shop "{OF_SERVER}"',
            *([f'requirepass "{requirepass}"'] if requirepass else []),
            "",
        ]
    )


@families
def test_a_sentinel_with_a_password_of_its_own(start, family):
    server = start("--requirepass", OF_SERVER, tls=False)
    sentinel = start(tls=False, configuration=watching(server, requirepass=OF_SENTINEL))
    uri = f"{family}+sentinel://:{IN_URI}@127.0.0.1:{sentinel.port}/shop"
    options = {"sentinel_kwargs": {"password": OF_SENTINEL}, "db": 2}
    assert statuses(uri, options) == LIMITED
    assert Redis(port=server.port, db=2, password=OF_SERVER).dbsize() == 2


@families
def test_a_sentinel_without_a_password_of_servers_that_have_one(start, family):
    server = start("--requirepass", OF_SERVER, tls=False)
    sentinel = start(tls=False, configuration=watching(server))
    uri = f"{family}+sentinel://:{IN_URI}@127.0.0.1:{sentinel.port}/shop"
    assert statuses(uri, {"sentinel_kwargs": {"password": None}}) == LIMITED


@families
def test_a_sentinel_and_its_servers_by_tls(start, certificates, family):
    server = start("--requirepass", OF_SERVER)
    sentinel = start(configuration=watching(server, requirepass=OF_SENTINEL, tls=True))
    uri = f"{family}s+sentinel://:{IN_URI}@127.0.0.1:{sentinel.port}/shop"
    options = {
        "ssl_ca_certs": str(certificates / "ca.pem"),
        "sentinel_kwargs": {"password": OF_SENTINEL},
    }
    assert statuses(uri, options) == LIMITED


@families
def test_a_user_of_an_access_list(start, certificates, family):
    server = start()
    rights = re.search(r"`(~LIMITS:\* [^`]+)`", PAGE)[1].split()
    asked = admin(server, certificates)
    asked.execute_command("ACL", "SETUSER", "limits", "on", f">{OF_SERVER}", *rights)
    uri = f"{family}s://127.0.0.1:{server.port}"
    options = {
        "username": "limits",
        "password": OF_SERVER,
        "ssl_ca_certs": str(certificates / "ca.pem"),
        "client_name": "shop",
        "health_check_interval": 30,
    }
    assert statuses(uri, options) == LIMITED
