"""An Otter Wiki: a complete application over a git repository."""

REQUIREMENTS = ("otterwiki", "setuptools<81")
SKIP = (
    "/static/",
    "/-/logout",
    "\\.git/",
    "/-/changelog/",
    "/-/commit/",
    "/-/revert/",
    "revision=",
    "/blame",
    "/diff/",
)
MAX_REQUESTS = 80
REQUESTS = (
    ("POST", "/Home/save", {"data": {"content": "# Home\n\ntext", "commit": "first"}}),
    ("GET", "/Home", {}),
    ("GET", "/Home/source", {}),
    ("GET", "/Home/edit", {}),
    ("GET", "/Home/attachments", {}),
    ("POST", "/Home/preview", {"data": {"content": "# Home", "cursor_line": "1"}}),
    ("GET", "/Missing", {}),
    ("GET", "/Missing/create", {}),
    ("POST", "/-/search", {"data": {"query": "text"}}),
)


def make_app():
    import importlib
    import os
    import subprocess
    from pathlib import Path

    here = Path.cwd()
    subprocess.run(["git", "init", "--quiet", "repository"], check=True)
    (here / "settings.cfg").write_text(
        f"REPOSITORY = {str(here / 'repository')!r}\nSECRET_KEY = 'not a secret at all'\n"
        f"SQLALCHEMY_DATABASE_URI = 'sqlite:///{here}/wiki.db'\n"
        "READ_ACCESS = 'ANONYMOUS'\nWRITE_ACCESS = 'ANONYMOUS'\nATTACHMENT_ACCESS = 'ANONYMOUS'\n"
    )
    os.environ["OTTERWIKI_SETTINGS"] = str(here / "settings.cfg")
    from otterwiki.server import app

    importlib.import_module("otterwiki.views")  # adds the routes

    return app
