"""Flask-Login and Flask-WTF: sessions, redirects to the sign-in page, forms against forgery."""

REQUIREMENTS = ("flask-login", "flask-wtf")
PATHS = ("/private", "/form")
REQUESTS = (
    ("POST", "/form", {"data": {"name": "x"}}),
    ("POST", "/free", {"data": {"name": "x"}}),
    ("GET", "/private", {}),
    ("GET", "/sign-out", {}),
    ("GET", "/private", {}),
)


def make_app():
    from flask import Flask, flash, get_flashed_messages, redirect, render_template_string, request
    from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
    from flask_wtf import CSRFProtect, FlaskForm
    from wtforms import StringField

    app = Flask("signed-in")
    app.config["SECRET_KEY"] = "not a secret"
    csrf = CSRFProtect(app)
    manager = LoginManager(app)
    manager.login_view = "sign_in"

    class User(UserMixin):
        id = "7"

    class Form(FlaskForm):
        name = StringField()

    @manager.user_loader
    def load(_identity):
        return User()

    @app.route("/sign-in", methods=["GET", "POST"])
    @csrf.exempt
    def sign_in():
        if request.method == "POST":
            login_user(User(), remember=True)
            flash("welcome")
            return redirect("/private")
        return "who are you?"

    @app.get("/private")
    @login_required
    def private():
        return f"{current_user.id} {get_flashed_messages()}"

    @app.get("/sign-out")
    def sign_out():
        logout_user()
        return "gone"

    @app.route("/form", methods=["GET", "POST"])
    def form():
        page = '<form action="/free">{{ form.csrf_token }}{{ form.name() }}</form><a href="/private">p</a>'
        return render_template_string(page, form=Form())

    @app.post("/free")
    @csrf.exempt
    def free():
        return request.form

    return app


def log_in(client):
    client.post("/sign-in")
