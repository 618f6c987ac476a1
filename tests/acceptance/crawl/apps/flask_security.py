"""Flask-Security: registering, signing in, its session and its pages."""

REQUIREMENTS = ("flask-security-too[common,fsqla]", "flask-sqlalchemy")
SKIP = ("/logout",)
REQUESTS = (
    ("POST", "/login", {"json": {"email": "a@example.org", "password": "wrong password"}}),
    ("POST", "/register", {"json": {"email": "b@example.org", "password": "a long password"}}),
    ("POST", "/change", {"json": {"password": "a long password"}}),
    ("GET", "/private", {}),
    ("GET", "/token", {}),
)


def make_app():
    from flask import Flask
    from flask_security import (
        Security,
        SQLAlchemyUserDatastore,
        auth_required,
        auth_token_required,
        hash_password,
    )
    from flask_security.models import fsqla_v3
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("secured")
    app.config.update(
        SECRET_KEY="not a secret",
        SECURITY_PASSWORD_SALT="salt",
        SECURITY_PASSWORD_HASH="plaintext",
        SECURITY_PASSWORD_SCHEMES=["plaintext"],
        SECURITY_HASHING_SCHEMES=["hex_md5"],
        SECURITY_DEPRECATED_HASHING_SCHEMES=[],
        SECURITY_REGISTERABLE=True,
        SECURITY_CHANGEABLE=True,
        SECURITY_RECOVERABLE=True,
        SECURITY_TRACKABLE=True,
        SECURITY_SEND_REGISTER_EMAIL=False,
        SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
        SQLALCHEMY_DATABASE_URI="sqlite:///:memory:",
        WTF_CSRF_ENABLED=False,
    )
    db = SQLAlchemy(app)
    fsqla_v3.FsModels.set_db_info(db)

    class Role(db.Model, fsqla_v3.FsRoleMixin):
        pass

    class User(db.Model, fsqla_v3.FsUserMixin):
        pass

    store = SQLAlchemyUserDatastore(db, User, Role)
    Security(app, store)
    with app.app_context():
        db.create_all()
        store.create_user(email="a@example.org", password=hash_password("a long password"))
        db.session.commit()

    @app.get("/private")
    @auth_required()
    def private():
        return "for you"

    @app.get("/token")
    @auth_token_required
    def token():
        return "for programs"

    return app


def log_in(client):
    client.post("/login", data={"email": "a@example.org", "password": "a long password"})
