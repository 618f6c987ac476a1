"""ihatemoney: a complete application that shares costs, with SQLAlchemy, Babel, WTF and RESTful."""

REQUIREMENTS = ("ihatemoney", "setuptools<81")
SKIP = ("/exit", "\\?token=", "/feed/", "/join/")  # the last three are signed again each time
REQUESTS = (
    ("POST", "/demo/members/add", {"data": {"name": "Ann", "weight": "1"}}),
    ("GET", "/demo/", {}),
    ("GET", "/demo/settle_bills", {}),
    ("GET", "/demo/statistics", {}),
    ("GET", "/demo/edit", {}),
    ("GET", "/api/projects/demo", {"auth": ("demo", "demo")}),
    ("GET", "/api/projects/demo/members", {"auth": ("demo", "demo")}),
    ("GET", "/api/projects/demo/bills", {}),
    ("POST", "/api/projects", {"json": {}}),
    ("GET", "/lang/fr", {}),
    ("GET", "/", {}),
)


def make_app():
    from pathlib import Path

    from ihatemoney.run import create_app

    here = Path.cwd()

    class Configuration:
        SECRET_KEY = "not a secret"
        SQLALCHEMY_DATABASE_URI = f"sqlite:///{here}/ihatemoney.db"
        SQLALCHEMY_TRACK_MODIFICATIONS = False
        ACTIVATE_DEMO_PROJECT = True
        WTF_CSRF_ENABLED = False
        MAIL_SUPPRESS_SEND = True
        ENABLE_CAPTCHA = False

    return create_app(configuration=Configuration, instance_path=str(here))


def log_in(client):
    client.get("/demo")
