"""Flask-MonitoringDashboard: it wraps every view of the application that it watches."""

REQUIREMENTS = ("flask-monitoringdashboard", "setuptools<81")
SKIP = (
    "/dashboard/logout",
    "/dashboard/static/",
    # They list all endpoints that there are, ours too, and count on a thread of their own.
    "/dashboard/api/(?:endpoints|overview|deploy_details|users)",
)
MAX_REQUESTS = 50
REQUESTS = (
    *(("GET", f"/page/{number}", {}) for number in range(8)),
    ("GET", "/broken", {}),
    ("GET", "/dashboard/overview", {}),
)


def make_app():
    import flask_monitoringdashboard as dashboard
    from flask import Flask

    app = Flask("watched")
    dashboard.config.database_name = "sqlite:///dashboard.db"

    @app.get("/")
    def home():
        return "home"

    @app.get("/page/<int:number>")
    def page(number):
        return f"{number}"

    @app.get("/broken")
    def broken():
        return 1 / 0

    dashboard.bind(app)
    return app


def log_in(client):
    client.post("/dashboard/login", data={"name": "admin", "password": "admin"})
