"""Real nginx in front of a real gunicorn, one or two, with the settings of docs/how-to/proxies.md."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "proxies.md").read_text()
AMOUNT, TRIES = 5, 15

APPLICATION = f"""
import flask
from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

app = flask.Flask("behind")
app.add_url_rule("/", "view", lambda: "ok")
RateLimit(app, policy=parse_policy('version = 1\\n[tiers]\\ndefault = "{AMOUNT}/hour"\\n', "behind.toml"))
"""
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {proxying}
        }}
    }}
}}
"""
FORGERIES = {
    "nothing": lambda i: [],
    "x-forwarded-for": lambda i: [("X-Forwarded-For", f"9.9.9.{i}")],
    "twice": lambda i: [("X-Forwarded-For", f"9.9.9.{i}"), ("X-Forwarded-For", f"9.9.8.{i}, 127.0.0.1")],
    "forwarded": lambda i: [("Forwarded", f"for=9.9.9.{i}")],
    "both": lambda i: [("X-Forwarded-For", f"9.9.9.{i}"), ("Forwarded", f"for=9.9.9.{i}, for=127.0.0.1")],
    "underscores": lambda i: [("X_Forwarded_For", f"9.9.9.{i}")],
    "one address": lambda i: [("X-Real-IP", f"9.9.9.{i}"), ("CF-Connecting-IP", f"9.9.9.{i}")],
    "garbage": lambda i: [("X-Forwarded-For", f'{i}"\\,,;unknown'), ("Forwarded", f'for="{i}')],
}


def section(heading):
    return re.split(rf"^#+ {heading}$", PAGE, flags=re.MULTILINE)[1].split("\n#", 1)[0]


def settings(heading):
    return dict(re.findall(r"^(OTEL_RATELIMIT_\w+)=(\S+)$", section(heading), flags=re.MULTILINE))


def proxying(upstream, *, header=None):
    """The page's lines for nginx, to this upstream."""
    (block,) = re.findall(r"```nginx\n(.*?)```", section("nginx"), flags=re.DOTALL)
    if header is not None:
        block = re.sub(r"proxy_set_header .*", header, block)
    return re.sub(r"proxy_pass [^;]+;", f"proxy_pass {upstream};", block)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(connect):
    """Wait until somebody listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            connect().close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def serve(tmp_path):
    """`serve(settings, proxies, unix=…)`: the port of the outermost nginx; everything ends with the test."""
    if shutil.which("nginx") is None:
        missing = "nginx is not installed (apt-get install nginx-light)"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with ExitStack() as stack:

        def start(*command, **options):
            process = stack.enter_context(subprocess.Popen(command, **options))
            stack.callback(process.terminate)

        def gunicorn(variables, bind):
            (tmp_path / "behind.py").write_text(APPLICATION)
            environ = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
            start(
                sys.executable, "-m", "gunicorn", "--bind", bind, "--threads", "4", "behind:app",
                cwd=tmp_path, env={**environ, **variables},
            )  # fmt: skip

        def nginx(upstream, header):
            port, folder = free_port(), tmp_path / f"nginx-{upstream.rpartition(':')[2].strip('/')}"
            folder.mkdir()
            text = NGINX.format(folder=folder, port=port, proxying=proxying(upstream, header=header))
            (folder / "nginx.conf").write_text(text)
            start("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"))
            answers(lambda: socket.create_connection(("127.0.0.1", port), 1))
            return port

        def all_of_it(variables, proxies, *, unix=False, header=None):
            path, port = tmp_path / "s", free_port()
            gunicorn(variables, f"unix:{path}" if unix else f"127.0.0.1:{port}")
            answers(lambda: connected(path) if unix else socket.create_connection(("127.0.0.1", port), 1))
            upstream = f"http://unix:{path}:" if unix else f"http://127.0.0.1:{port}"
            for _ in range(proxies):
                upstream = f"http://127.0.0.1:{nginx(upstream, header)}"
            return int(upstream.rpartition(":")[2])

        yield all_of_it


def connected(path):
    found = socket.socket(socket.AF_UNIX)
    found.connect(str(path))
    return found


def ask(port, address, headers):
    """The status that a client at `address`, one of the loopback network, gets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(address, 0))
    try:
        connection.putrequest("GET", "/")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def check_one_limit_for_each_client(port):
    for number, forge in enumerate(FORGERIES.values()):
        for address in (f"127.0.1.{number}", f"127.0.2.{number}"):
            statuses = [ask(port, address, forge(turn)) for turn in range(TRIES)]
            assert statuses == [200] * AMOUNT + [429] * (TRIES - AMOUNT)


@pytest.mark.parametrize(
    ("heading", "proxies"), [("nginx", 1), ("Two nginx in a row", 2)], ids=["one", "two in a row"]
)
@pytest.mark.parametrize("without", [None, "OTEL_RATELIMIT_TRUSTED_PROXIES", "OTEL_RATELIMIT_TRUSTED_HOPS"])
def test_behind_nginx_as_the_page_says_no_forged_header_is_another_limit(serve, heading, proxies, without):
    variables = {name: value for name, value in settings(heading).items() if name != without}
    check_one_limit_for_each_client(serve(variables, proxies))


def test_on_a_unix_socket_the_proxy_is_believed_by_name(serve):
    variables = {**settings("nginx"), "OTEL_RATELIMIT_TRUSTED_PROXIES": "unix"}
    check_one_limit_for_each_client(serve(variables, 1, unix=True))


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("X-Real-IP", "proxy_set_header X-Real-IP $remote_addr;"),
        ("Forwarded", 'proxy_set_header Forwarded "for=$remote_addr";'),
        ("Forwarded", 'proxy_set_header Forwarded "$http_forwarded, for=$remote_addr";'),
        ("X-Forwarded-For", "proxy_set_header X-Forwarded-For $remote_addr;"),
    ],
)
def test_another_header_is_read_where_nginx_writes_it(serve, header, line):
    variables = {**settings("nginx"), "OTEL_RATELIMIT_PROXY_HEADER": header}
    check_one_limit_for_each_client(serve(variables, 1, header=line))
