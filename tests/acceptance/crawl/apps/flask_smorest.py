"""flask-smorest: nested blueprints, method views, pages and etags."""

REQUIREMENTS = ("flask-smorest",)
PATHS = ("/openapi.json", "/docs")
REQUESTS = (
    *(("GET", f"/v1/items/{number}", {}) for number in range(6)),
    ("GET", "/v1/items/?page=2&page_size=2", {}),
    ("POST", "/v1/items/", {"json": {"name": "one"}}),
    ("POST", "/v1/items/", {"json": {"name": 1}}),
    ("PUT", "/v1/items/1", {"json": {"name": "two"}}),
    ("PUT", "/v1/items/1", {"json": {"name": "two"}, "headers": {"If-Match": '"x"'}}),
    ("DELETE", "/v1/items/2", {}),
)


def make_app():
    import marshmallow
    from flask import Flask
    from flask.views import MethodView
    from flask_smorest import Api, Blueprint, abort

    app = Flask("nested")
    app.config.update(
        API_TITLE="Items",
        API_VERSION="1",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_SWAGGER_UI_PATH="/docs",
        OPENAPI_SWAGGER_UI_URL="/none/",
    )
    api = Api(app)
    outer = Blueprint("v1", "v1", url_prefix="/v1")
    inner = Blueprint("items", "items", url_prefix="/items")

    class Item(marshmallow.Schema):
        name = marshmallow.fields.String(required=True)

    items = [{"name": f"item {number}"} for number in range(4)]

    @inner.route("/")
    class Items(MethodView):
        @inner.response(200, Item(many=True))
        @inner.paginate()
        def get(self, pagination_parameters):
            pagination_parameters.item_count = len(items)
            return items[pagination_parameters.first_item : pagination_parameters.last_item + 1]

        @inner.arguments(Item)
        @inner.response(201, Item)
        def post(self, item):
            items.append(item)
            return item

    @inner.route("/<int:number>")
    class One(MethodView):
        @inner.etag
        @inner.response(200, Item)
        def get(self, number):
            return items[number] if number < len(items) else abort(404, message="no such item")

        @inner.etag
        @inner.arguments(Item)
        @inner.response(200, Item)
        def put(self, item, number):
            inner.check_etag(items[number], Item)
            items[number] = item
            return item

        @inner.response(204)
        def delete(self, number):
            del items[number]

    outer.register_blueprint(inner)
    api.register_blueprint(outer)
    return app
