"""Flask-DebugToolbar: it replaces `dispatch_request` and writes into every page."""

REQUIREMENTS = ("flask-debugtoolbar", "setuptools<81")
REQUESTS = tuple(("GET", f"/page/{number}", {}) for number in range(12))


def make_app():
    from flask import Flask, redirect
    from flask_debugtoolbar import DebugToolbarExtension

    app = Flask("toolbar")
    app.config.update(
        SECRET_KEY="not a secret",
        DEBUG_TB_ENABLED=True,
        DEBUG_TB_INTERCEPT_REDIRECTS=True,
        # The panels with figures that are never the same twice are left out.
        DEBUG_TB_PANELS=[
            "flask_debugtoolbar.panels.versions.VersionDebugPanel",
            "flask_debugtoolbar.panels.template.TemplateDebugPanel",
            "flask_debugtoolbar.panels.g.GDebugPanel",
        ],
    )
    app.debug = True
    DebugToolbarExtension(app)

    @app.get("/")
    def home():
        return "<html><body>" + "".join(f'<a href="/page/{n}">{n}</a>' for n in range(9)) + "</body></html>"

    @app.get("/page/<int:number>")
    def page(number):
        return f"<html><body>{number}</body></html>"

    @app.get("/away")
    def away():
        return redirect("/page/3")

    @app.get("/broken")
    def broken():
        return 1 / 0

    return app
