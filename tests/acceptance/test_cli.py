"""The commands as an operator types them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from variants import quick_first

COMMAND = Path(sys.executable).parent / "otel-ratelimit"

APP = """
import flask
from flask.views import MethodView

app = flask.Flask(__name__)
jobs = flask.Blueprint("jobs", __name__, url_prefix="/api/jobs")

class Job(MethodView):
    def get(self, job_id):
        return "ok"
    def delete(self, job_id):
        return "ok"

jobs.add_url_rule("/<int:job_id>", view_func=Job.as_view("job"))
app.register_blueprint(jobs)

@app.post("/api/ai/analyze")
def analyze():
    return "ok"

@app.get("/health")
def health():
    return "ok"

def create_app():
    return app
"""
POLICY = """
version = 1
[tiers]
default = "100/minute"
[[routes]]
match = "POST /api/ai/*"
tier = "expensive"
[[routes]]
match = "DELETE /api/jobs/*"
limits = "5/minute"
shadow = true
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "ratelimit.toml").write_text(POLICY)
    return tmp_path


def run(folder, *arguments, **environ):
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def test_routes_lists_every_route_with_tier_limits_key_and_the_rule_that_says_so(folder):
    result = run(folder, "routes", "app:app")
    assert result.returncode == 0, result.stderr
    lines = [line.split("  ") for line in result.stdout.splitlines()]
    rows = {
        (cells[0].strip(), [c for c in cells if c][1].strip()): " ".join(cells)
        for cells in lines
        if len(cells) > 2
    }
    assert "expensive" in rows["POST", "/api/ai/analyze"]
    assert "10 per 1 minute; 50 per 1 hour" in rows["POST", "/api/ai/analyze"]
    assert "ip+user" in rows["POST", "/api/ai/analyze"]
    assert "routes[0] (ratelimit.toml:5)" in rows["POST", "/api/ai/analyze"]
    assert "default_tier" in rows["GET", "/api/jobs/<int:job_id>"]
    assert "shadow" in rows["DELETE", "/api/jobs/<int:job_id>"]
    assert "exempt" in rows["GET", "/health"]


def test_an_application_with_limits_of_its_own_is_listed_without_what_a_server_says_at_its_start(folder):
    (folder / "app.py").write_text(APP + "\nfrom otel_ratelimit import RateLimit\nRateLimit(app)\n")
    assert run(folder, "routes", "app:app").stderr == ""


def test_routes_as_json_gives_the_share_protected(folder):
    result = run(folder, "routes", "app:create_app()", "--json")
    document = json.loads(result.stdout)
    # Three count: the AI route, GET and DELETE of a job; the last only observes.
    assert document["protected_percent"] == 66.67
    assert {row["status"] for row in document["routes"]} == {"protected", "shadow", "exempt"}


LIMITED_APP = (
    APP
    + """
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

limiter = Limiter(get_remote_address, app=app, default_limits=["9/second"], storage_uri="memory://")

@app.get("/decorated")
@limiter.limit("5/minute")
def decorated():
    return "ok"

@app.get("/misspelt")
@limiter.limit("5/minuet")
def misspelt():
    return "ok"
"""
)


def test_routes_says_how_many_have_no_explicit_limit(folder):
    shown = run(folder, "routes", "app:app").stdout
    assert "1 without an explicit limit: the default tier alone covers it; --only-default lists it." in shown
    (folder / "app.py").write_text(LIMITED_APP)
    # A default of the application's own limiter is not an explicit limit, and neither is an exemption.
    document = json.loads(run(folder, "routes", "app:app", "--json").stdout)
    assert (document["explicit"], document["default_only"], document["exempt"]) == (3, 2, 2)
    found = {(row["method"], row["route"]): row["explicit"] for row in document["routes"]}
    assert found["GET", "/decorated"]
    assert not found["GET", "/misspelt"]
    assert not found["GET", "/api/jobs/<int:job_id>"]


def test_only_default_lists_only_those_and_counts_the_same(folder):
    (folder / "app.py").write_text(LIMITED_APP)
    result = run(folder, "routes", "app:app", "--only-default", "--fail-under", "90")
    assert result.returncode == 1  # as without it: one of five only observes
    listed = [line.split()[1] for line in result.stdout.split("\n\n")[0].splitlines()[1:]]
    assert listed == ["/api/jobs/<int:job_id>", "/misspelt"]
    assert "4 of 5 protected (80.0 %), 2 exempt" in result.stdout
    assert result.stdout.endswith("2 without an explicit limit: the default tier alone covers them.\n")
    document = json.loads(run(folder, "routes", "app:app", "--only-default", "--json").stdout)
    assert [row["route"] for row in document["routes"]] == listed
    assert (document["protected_percent"], document["default_only"]) == (80.0, 2)


def test_where_every_route_has_a_rule_nothing_is_listed(folder):
    (folder / "ratelimit.toml").write_text(POLICY + '[[routes]]\nmatch = "/**"\ntier = "default"\n')
    shown = run(folder, "routes", "app:app", "--only-default").stdout
    assert shown.splitlines()[-1] == "Every route that is not exempt has an explicit limit."
    assert "METHOD" not in shown


def test_fail_under_fails_a_pipeline_and_names_what_is_not_protected(folder):
    result = run(folder, "routes", "app:app", "--fail-under", "100")
    assert result.returncode == 1
    assert "DELETE /api/jobs/<int:job_id> only observes (routes[1] (ratelimit.toml:8))" in result.stderr
    (folder / "ratelimit.toml").write_text(POLICY.replace("shadow = true", ""))
    assert run(folder, "routes", "app:app", "--fail-under", "100").returncode == 0


def test_a_rule_that_no_route_needs_is_named(folder):
    (folder / "ratelimit.toml").write_text(POLICY.replace("/api/ai/*", "/api/ia/*"))
    result = run(folder, "routes", "app:app")
    assert result.returncode == 0
    assert "routes[0] (ratelimit.toml:5) decides for no route of this application" in result.stderr
    assert "routes[1]" not in result.stderr


def test_without_a_policy_nothing_is_protected(folder):
    (folder / "ratelimit.toml").unlink()
    result = run(folder, "routes", "app:app", "--fail-under", "1")
    assert result.returncode == 1
    assert "0.0 %" in result.stderr


@pytest.mark.parametrize(
    ("target", "said"),
    quick_first([("broken:app", "broken"), ("nothing:app", "nothing"), ("app:nothing", "nothing")]),
)
def test_an_app_that_cannot_be_loaded_is_wrong_use_without_a_traceback(folder, target, said):
    (folder / "broken.py").write_text("raise RuntimeError('at import')\n")
    result = run(folder, "routes", target)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", quick_first([["policy", "show"], ["policy", "check"], ["routes", "app:app"]])
)
def test_a_working_directory_that_was_deleted_is_said(tmp_path, arguments):
    gone = tmp_path / "gone"
    go = f'mkdir "{gone}"; cd "{gone}"; rmdir "{gone}"; exec "$@"'
    command = ["sh", "-c", go, "sh", COMMAND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {1, 2}
    assert "the working directory does not exist any more" in done.stderr
    assert "Traceback" not in done.stderr


def test_policy_check_accepts_a_valid_file(folder):
    result = run(folder, "policy", "check")
    assert result.returncode == 0
    assert "ratelimit.toml: valid; 2 rules" in result.stdout


def test_policy_check_names_every_mistake_and_fails(folder):
    (folder / "bad.toml").write_text(
        textwrap.dedent(
            """\
            version = 2
            defalt_tier = "x"
            [tiers]
            slow = "ten per minuet"
            [[routes]]
            match = "/a"
            tier = "slwo"
            """
        )
    )
    result = run(folder, "policy", "check", "bad.toml")
    assert result.returncode == 1
    assert [line.split(" ")[0] for line in result.stderr.splitlines()[:-1]] == [
        "bad.toml:1:",
        "bad.toml:2:",
        "bad.toml:4:",
        "bad.toml:7:",
    ]
    assert "did you mean 'default_tier'?" in result.stderr
    assert "did you mean 'slow'?" in result.stderr
    assert "4 problems found." in result.stderr


def test_policy_check_without_a_file_is_wrong_use(tmp_path):
    result = run(tmp_path, "policy", "check")
    assert result.returncode == 2
    assert "OTEL_RATELIMIT_POLICY" in result.stderr


def test_policy_check_reads_the_variable(folder):
    (folder / "other.toml").write_text("version = 1\n")
    result = run(folder, "policy", "check", OTEL_RATELIMIT_POLICY="other.toml")
    assert "other.toml: valid; 0 rules" in result.stdout


def test_policy_show_fills_in_the_defaults(folder):
    shown = run(folder, "policy", "show").stdout
    assert "expensive" in shown
    assert "everything else" in shown
    document = json.loads(run(folder, "policy", "show", "--json").stdout)
    assert document["routes"][1]["limits"] == "5/minute"
    assert document["tiers"]["cheap"] == "200/minute"


def test_policy_show_without_a_file_shows_the_built_in_policy(tmp_path):
    assert "the built-in policy" in run(tmp_path, "policy", "show").stdout


@pytest.mark.parametrize(
    "arguments", quick_first([["routes"], ["nonsense"], ["routes", "app:app", "--fail-under", "200"]])
)
def test_wrong_use_exits_with_2(folder, arguments):
    assert run(folder, *arguments).returncode == 2


def test_the_version_is_told(folder):
    assert run(folder, "--version").stdout.startswith("otel-ratelimit 0.")


APP_WITH_LIMITS = """
import flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from otel_ratelimit import RateLimit

app = flask.Flask(__name__)
ours = RateLimit(app).limiter
own = Limiter(get_remote_address, app=app, default_limits=["30/minute"], storage_uri="memory://")
part = flask.Blueprint("part", __name__, url_prefix="/part")

@app.route("/login", methods=["GET", "POST"])
@ours.limit("7/minute", methods=["POST"])
def login():
    return "ok"

@app.get("/search")
@own.limit(lambda: "9/minute")
def search():
    return "ok"

@app.get("/report")
@ours.limit("5 per minuet")
def report():
    return "ok"

@app.get("/free")
@own.exempt
def free():
    return "ok"

@part.get("/list")
@ours.limit("4/minute", exempt_when=lambda: False)
def listed():
    return "ok"

own.limit("6/hour")(part)
app.register_blueprint(part)
"""


@pytest.fixture
def folder_with_limits(folder):
    (folder / "app.py").write_text(APP_WITH_LIMITS)
    return folder


def test_routes_shows_what_the_application_limits_itself(folder_with_limits):
    result = run(folder_with_limits, "routes", "app:app", "--json")
    rows = {(row["method"], row["route"]): row for row in json.loads(result.stdout)["routes"]}
    own_default = "30 per 1 minute (own limiter, default)"
    assert {route: row["application"] for route, row in rows.items()} == {
        ("GET", "/login"): [own_default],
        ("POST", "/login"): ["7 per 1 minute (decorator, view)", own_default],
        ("GET", "/search"): ["computed at each request (own limiter, view)"],
        ("GET", "/report"): [own_default],
        ("GET", "/free"): [],
        ("GET", "/part/list"): [
            "4 per 1 minute, unless exempted at the request (decorator, view)",
            "6 per 1 hour (own limiter, blueprint)",
        ],
        ("GET", "/static/<path:filename>"): [],
    }
    assert rows["POST", "/login"]["source"] == "default_tier, unless a decorator's limit applies"
    assert rows["POST", "/login"]["status"] == "protected"
    assert rows["GET", "/login"]["source"] == "default_tier"


def test_routes_names_a_declared_text_that_is_no_limit(folder_with_limits):
    result = run(folder_with_limits, "routes", "app:app")
    assert "GET /report: not a limit: no granularity matched for minuet (decorator, view)" in result.stderr
    assert "APPLICATION" in result.stdout.splitlines()[0]


def test_routes_of_an_application_that_declares_nothing_has_no_column_for_it(folder):
    assert "APPLICATION" not in run(folder, "routes", "app:app").stdout
