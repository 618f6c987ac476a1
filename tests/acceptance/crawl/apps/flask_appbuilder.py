"""Flask-AppBuilder on SQLite, with its own views of users and roles, signed in."""

REQUIREMENTS = ("flask-appbuilder", "setuptools<81")
SKIP = ("/logout",)
REQUESTS = (
    (
        "POST",
        "/api/v1/security/login",
        {"json": {"username": "admin", "password": "secret", "provider": "db"}},
    ),
    ("GET", "/api/v1/_openapi", {}),
    ("GET", "/users/list/", {}),
    ("GET", "/roles/list/", {}),
    ("GET", "/lang/de", {}),
)


def make_app():
    from flask import Flask
    from flask_appbuilder import AppBuilder
    from flask_appbuilder.utils.legacy import get_sqla_class

    app = Flask("builder")
    app.config.update(
        SECRET_KEY="not a secret",
        SQLALCHEMY_DATABASE_URI="sqlite:///app.db",
        WTF_CSRF_ENABLED=False,
        FAB_API_SWAGGER_UI=True,
    )
    db = get_sqla_class()()
    builder = AppBuilder()
    with app.app_context():
        db.init_app(app)
        builder.init_app(app, db.session)
        builder.sm.add_user("admin", "A", "B", "a@example.org", builder.sm.find_role("Admin"), "secret")
    return app


def log_in(client):
    client.post("/login/", data={"username": "admin", "password": "secret"})
