"""Visits one application and writes down every answer. Runs in the application's own environment.

    opentelemetry-instrument python visit.py apps/httpbin.py answers.json

The application is made by the named file's `make_app`, as the process would without this. What is asked is
the same each time: all rules without arguments, with each of their methods, then the links that pages hold.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from urllib.parse import urljoin, urlsplit

MAX_REQUESTS = 160
MAX_BODY = 300_000
OURS = "/api/rate-limit"
LINK = re.compile(r"""(?:href|src|action)=["']([^"'#]+)["'#]""")
ODD_PATHS = (
    "/",
    "/no-such-page",
    "/no/such/page/",
    "/favicon.ico",
    "/static/no-such-file.css",
    "/%E2%82%AC?a=b",
)


def load(path):
    spec = importlib.util.spec_from_file_location("app_under_visit", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Visit:
    """One walk through one application."""

    def __init__(self, module, app):
        self.client = app.test_client()
        self.skip = re.compile("|".join((OURS, *getattr(module, "SKIP", ()))))
        self.most = getattr(module, "MAX_REQUESTS", MAX_REQUESTS)
        self.answers = []
        self.links = []
        self.seen = set()

    def ask(self, method, path, *, again=False, **options):
        if (
            self.skip.search(path)
            or (not again and (method, path) in self.seen)
            or len(self.answers) >= self.most
        ):
            return
        self.seen.add((method, path))
        try:
            response = self.client.open(path, method=method, **options)
        except Exception as error:  # the application lets it out, and must with the plugin
            self.answers.append(
                {"method": method, "path": path, "raised": f"{type(error).__name__}: {error}"}
            )
            return
        body = response.get_data()
        self.answers.append(
            {
                "method": method,
                "path": path,
                "status": response.status,
                "headers": list(response.headers),
                "body": body[:MAX_BODY].decode("latin-1"),
            }
        )
        response.close()
        if method == "GET" and response.mimetype == "text/html":
            self.links += [urljoin(path, link) for link in LINK.findall(body.decode("utf-8", "replace"))]
        if "Location" in response.headers:
            self.links.append(urljoin(path, response.headers["Location"]))

    def follow(self):
        while self.links and len(self.answers) < self.most:
            target = urlsplit(self.links.pop(0))
            if target.scheme in {"", "http", "https"} and target.netloc in {"", "localhost"}:
                self.ask("GET", target.path + (f"?{target.query}" if target.query else ""))


def rules_of(app):
    """Path and methods of each rule that takes no argument, ours left out."""
    return sorted(
        (rule.rule, sorted(rule.methods or ()))
        for rule in app.url_map.iter_rules()
        if not rule.arguments and not rule.rule.startswith(OURS)
    )


def main(module_path, out):
    module = load(module_path)
    app = module.make_app()
    visit = Visit(module, app)
    rules = rules_of(app)
    for path in (*ODD_PATHS, *getattr(module, "PATHS", ())):
        visit.ask("GET", path)
    if hasattr(module, "log_in"):
        module.log_in(visit.client)
    for path, methods in rules:
        for method in ("GET", "HEAD", "OPTIONS"):
            if method in methods:
                visit.ask(method, path)
    for method, path, options in getattr(module, "REQUESTS", ()):
        visit.ask(method, path, again=True, **options)
    visit.follow()
    for path, methods in rules:
        for method in methods:
            visit.ask(method, path)  # without a body: most are refused by the application
        visit.ask("GET", path.rstrip("/") if path.endswith("/") else f"{path}/")
        visit.ask("PROPFIND", path)
    active = "otel_ratelimit" in app.extensions
    Path(out).write_text(json.dumps({"active": active, "rules": rules, "answers": visit.answers}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
