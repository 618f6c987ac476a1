"""Flask-Admin over SQLAlchemy: lists, forms and saving."""

REQUIREMENTS = ("flask-admin[sqlalchemy]", "flask-sqlalchemy")
REQUESTS = (
    ("POST", "/admin/note/new/", {"data": {"text": "one"}}),
    ("POST", "/admin/note/new/", {"data": {"text": "two"}}),
    ("GET", "/admin/note/", {}),
    ("GET", "/admin/note/edit/?id=1", {}),
    ("POST", "/admin/note/edit/?id=1", {"data": {"text": "three"}}),
    ("GET", "/admin/note/details/?id=1", {}),
    ("POST", "/admin/note/delete/", {"data": {"id": "2"}}),
    ("GET", "/admin/note/?search=three", {}),
)


def make_app():
    from flask import Flask
    from flask_admin import Admin
    from flask_admin.contrib.sqla import ModelView
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("administered", instance_path=__import__("os").getcwd())
    app.config.update(SECRET_KEY="not a secret", SQLALCHEMY_DATABASE_URI="sqlite:///notes.db")
    db = SQLAlchemy(app)

    class Note(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String(80))

    with app.app_context():
        db.create_all()
    admin = Admin(app, name="notes")
    admin.add_view(ModelView(Note, db.session))
    return app
