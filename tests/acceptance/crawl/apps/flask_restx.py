"""Flask-RESTX: resources, its error handling and its Swagger page."""

REQUIREMENTS = ("flask-restx", "setuptools<81")
PATHS = ("/swagger.json", "/swaggerui/swagger-ui.css")
REQUESTS = (
    ("POST", "/todos/", {"json": {"task": "write"}}),
    ("POST", "/todos/", {"json": {"task": 7}}),
    ("POST", "/todos/", {"data": b"{"}),
    ("GET", "/todos/1", {}),
    ("PUT", "/todos/1", {"json": {"task": "read"}}),
    ("DELETE", "/todos/1", {}),
    ("GET", "/todos/1", {}),
    ("PATCH", "/todos/1", {}),
    ("GET", "/todos/text", {}),
    ("GET", "/todos/", {"headers": {"Accept": "text/plain"}}),
    ("GET", "/todos/?page=x", {}),
)


def make_app():
    from flask import Flask
    from flask_restx import Api, Resource, fields, reqparse

    app = Flask("restful")
    api = Api(app, title="Todos")
    space = api.namespace("todos")
    model = api.model("Todo", {"task": fields.String(required=True)})
    parser = reqparse.RequestParser()
    parser.add_argument("page", type=int)
    todos = {}

    @space.route("/")
    class Todos(Resource):
        @space.expect(parser)
        @space.marshal_list_with(model)
        def get(self):
            parser.parse_args()
            return list(todos.values())

        @space.expect(model, validate=True)
        @space.marshal_with(model, code=201)
        def post(self):
            todos[len(todos) + 1] = api.payload
            return api.payload, 201, {"X-Made": "yes"}

    @space.route("/<int:number>")
    class Todo(Resource):
        @space.marshal_with(model)
        def get(self, number):
            return todos.get(number) or api.abort(404, "no such todo")

        def put(self, number):
            todos[number] = api.payload
            return {}, 204

        def delete(self, number):
            del todos[number]
            return "", 204

    return app
