"""Flask-SocketIO: it takes requests for its path before Flask does."""

REQUIREMENTS = ("flask-socketio", "simple-websocket")
PATHS = ("/socket.io/", "/socket.io/?EIO=4", "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=9")
REQUESTS = (
    *(("GET", f"/page/{number}", {}) for number in range(6)),
    ("POST", "/socket.io/?EIO=4&transport=polling", {"data": b"40"}),
    ("POST", "/socket.io/?EIO=4&transport=polling&sid=none", {"data": b"40"}),
    ("GET", "/talk", {}),
)


def make_app():
    from flask import Flask, session
    from flask_socketio import SocketIO

    app = Flask("sockets")
    app.config["SECRET_KEY"] = "not a secret"
    socketio = SocketIO(app, async_mode="threading")

    @app.get("/")
    def home():
        session["visits"] = session.get("visits", 0) + 1
        return "".join(f'<a href="/page/{number}">{number}</a>' for number in range(9))

    @app.get("/page/<int:number>")
    def page(number):
        return f"{number} {session.get('visits')}"

    @socketio.on("say")
    def say(text):
        socketio.emit("said", f"{text}!")

    @app.get("/talk")
    def talk():
        client = socketio.test_client(app)
        client.emit("say", "hello")
        return [message["args"] for message in client.get_received()]

    return app
