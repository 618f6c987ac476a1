"""APIFlask: a subclass of Flask with answers, schemas and pages of its own."""

REQUIREMENTS = ("apiflask",)
PATHS = ("/openapi.json", "/docs")
REQUESTS = (
    ("POST", "/pets", {"json": {"name": "Rex"}}),
    ("POST", "/pets", {"json": {"name": "Tom"}}),
    ("POST", "/pets", {"json": {}}),
    ("POST", "/pets", {"data": b"{"}),
    ("GET", "/pets/0", {}),
    ("GET", "/pets/17", {}),
    ("DELETE", "/pets/0", {}),
    ("GET", "/guarded", {"auth": ("a", "b")}),
    ("GET", "/async", {}),
)


def make_app():
    from apiflask import APIFlask, HTTPBasicAuth, Schema, abort
    from apiflask.fields import String

    app = APIFlask("pets")
    auth = HTTPBasicAuth()
    pets = []

    class Pet(Schema):
        name = String(required=True)

    @auth.verify_password
    def verify(name, _password):
        return name

    @app.get("/pets")
    @app.output(Pet(many=True))
    def every():
        return pets

    @app.post("/pets")
    @app.input(Pet, location="json")
    @app.output(Pet, status_code=201)
    def create(json_data):
        pets.append(json_data)
        return json_data

    @app.get("/pets/<int:number>")
    @app.output(Pet)
    def one(number):
        return pets[number] if number < len(pets) else abort(404, "no such pet")

    @app.delete("/pets/<int:number>")
    @app.output({}, status_code=204)
    def delete(number):
        return "" if pets.pop(number) else None

    @app.get("/guarded")
    @app.auth_required(auth)
    def guarded():
        return {"user": auth.current_user}

    return app
