"""Locust's web interface: a Flask of its own, with forms that start and stop load."""

REQUIREMENTS = ("locust",)
SKIP = ("/swarm", "/stop", "/stats/", "/assets/")
REQUESTS = (
    ("GET", "/exceptions", {}),
    ("GET", "/tasks", {}),
    ("GET", "/logs", {}),
    *(("GET", f"/nothing/{number}", {}) for number in range(6)),
)


def make_app():
    from locust import HttpUser, task
    from locust.env import Environment

    class Visitor(HttpUser):
        host = "http://127.0.0.1:9"

        @task
        def home(self):
            self.client.get("/")

    environment = Environment(user_classes=[Visitor], host=Visitor.host)
    environment.create_local_runner()
    return environment.create_web_ui("127.0.0.1", 0).app
