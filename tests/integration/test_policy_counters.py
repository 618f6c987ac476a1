"""A policy that takes the place of another, in a running application and before, at the command line."""

from __future__ import annotations

import logging
import os
import sys

import flask
import pytest
from click.testing import CliRunner

from otel_ratelimit import RateLimit
from otel_ratelimit.cli import main

OLD = """version = 1
[tiers]
heavy = "3/minute"
default = "3/minute"
[[routes]]
match = "GET,POST /jobs"
tier = "heavy"
"""
RENAMED = """version = 1
default_tier = "rest"
[tiers]
rest = "3/minute"
expensive = "3/minute"
[[routes]]
match = "post,get,POST  /jobs/"
tier = "expensive"
[[routes]]
match = "/other"
limits = "3/minute"
"""
LONGER = OLD.replace('heavy = "3/minute"', 'heavy = "3/hour"')
APP = """
import flask
app = flask.Flask(__name__)
@app.route("/jobs", methods=["GET", "POST"])
def jobs(): return "ok"
@app.route("/other")
def other(): return "ok"
"""


def make_app():
    app = flask.Flask("jobs_app")
    app.add_url_rule("/jobs", "jobs", lambda: "ok", methods=["GET", "POST"])
    app.add_url_rule("/other", "other", lambda: "ok")
    return app


def statuses(app, path, times):
    client = app.test_client()
    return [client.get(path).status_code for _ in range(times)]


@pytest.fixture
def limited(tmp_path):
    file = tmp_path / "ratelimit.toml"
    file.write_text(OLD)
    app = make_app()
    limits = RateLimit(app, policy=file)
    yield app, limits, file
    limits.close()


def reload_with(limits, file, text):
    file.write_text(text)
    os.utime(file, (1, 1))
    limits._reloader.look()


def test_a_reload_with_other_words_gives_no_fresh_budget(limited, caplog):
    app, limits, file = limited
    assert statuses(app, "/jobs", 4) == [200, 200, 200, 429]
    assert statuses(app, "/other", 2) == [200, 200]

    reload_with(limits, file, RENAMED)

    assert app.test_client().post("/jobs").status_code == 429
    assert statuses(app, "/other", 2) == [200, 429]
    assert "start from zero" not in caplog.text


def test_a_reload_says_which_limits_start_from_zero(limited, caplog):
    app, limits, file = limited
    assert statuses(app, "/jobs", 4) == [200, 200, 200, 429]

    with caplog.at_level(logging.WARNING):
        reload_with(limits, file, LONGER)

    assert statuses(app, "/jobs", 1) == [200]
    assert "with the new policy, 2 limits start from zero" in caplog.text
    assert "GET /jobs: 3 per 1 hour starts from zero: there was no window of this length" in caplog.text


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("old", OLD), ("renamed", RENAMED), ("longer", LONGER)):
        (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / "jobs_application.py").write_text(APP)
    yield tmp_path
    sys.modules.pop("jobs_application", None)
    sys.path[:] = [each for each in sys.path if each != str(tmp_path)]


@pytest.mark.parametrize("more", [[], ["--app", "jobs_application:app"]])
def test_policy_check_says_what_starts_from_zero(files, more):
    run = CliRunner().invoke

    stays = run(main, ["policy", "check", "renamed.toml", "--against", "old.toml", *more])
    again = run(main, ["policy", "check", "longer.toml", "--against", "old.toml", *more])

    assert stays.exit_code == again.exit_code == 0, stays.output + again.output
    assert "against old.toml: all counters are kept" in stays.output
    assert "against old.toml: 2 limits start from zero" in again.output
    assert "  POST /jobs: 3 per 1 hour starts from zero: there was no window of this length" in again.output


def test_policy_check_reads_the_former_policy_as_strictly(files):
    (files / "bad.toml").write_text("version = 2\n")

    wrong = CliRunner().invoke(main, ["policy", "check", "old.toml", "--against", "bad.toml"])
    alone = CliRunner().invoke(main, ["policy", "check", "old.toml", "--app", "jobs_application:app"])

    assert wrong.exit_code == 1
    assert "bad.toml" in wrong.output
    assert alone.exit_code == 2
