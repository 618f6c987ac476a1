"""Flask-HTMX: parts of pages, selected by a header, and answers that steer the browser by headers."""

REQUIREMENTS = ("flask-htmx",)
REQUESTS = (
    ("GET", "/list", {"headers": {"HX-Request": "true", "HX-Target": "list"}}),
    ("GET", "/list", {}),
    *(("GET", f"/row/{number}", {"headers": {"HX-Request": "true"}}) for number in range(8)),
    ("GET", "/moved", {"headers": {"HX-Request": "true"}}),
    ("DELETE", "/row/3", {"headers": {"HX-Request": "true"}}),
    ("GET", "/stop", {"headers": {"HX-Request": "true"}}),
)


def make_app():
    from flask import Flask, render_template_string
    from flask_htmx import HTMX, make_response

    app = Flask("parts")
    htmx = HTMX(app)

    @app.get("/")
    @app.get("/list")
    def rows():
        part = "".join(f'<li hx-get="/row/{n}">{n}</li>' for n in range(9))
        return part if htmx else render_template_string(f'<a href="/list">all</a><ul id="list">{part}</ul>')

    @app.route("/row/<int:number>", methods=["GET", "DELETE"])
    def row(number):
        return make_response(f"<b>{number}</b>", trigger={"opened": number}, retarget="#list")

    @app.get("/moved")
    def moved():
        return make_response(location="/list", push_url="/list", refresh=True)

    @app.get("/stop")
    def stop():
        return "", 286

    return app
