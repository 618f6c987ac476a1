"""moto: a stand-in for a cloud's services, which it serves from a Flask of its own."""

REQUIREMENTS = ("moto[server]",)
PATHS = ("/moto-api/", "/moto-api/data.json")
REQUESTS = (
    ("PUT", "/bucket", {"base_url": "http://s3.amazonaws.com"}),
    ("PUT", "/bucket/key", {"data": b"value", "base_url": "http://s3.amazonaws.com"}),
    ("GET", "/bucket/key", {"base_url": "http://s3.amazonaws.com"}),
    ("HEAD", "/bucket/key", {"base_url": "http://s3.amazonaws.com"}),
    ("GET", "/bucket?list-type=2", {"base_url": "http://s3.amazonaws.com"}),
    ("GET", "/bucket/none", {"base_url": "http://s3.amazonaws.com"}),
    ("DELETE", "/bucket/key", {"base_url": "http://s3.amazonaws.com"}),
    *(("GET", f"/bucket/missing-{number}", {"base_url": "http://s3.amazonaws.com"}) for number in range(8)),
    (
        "OPTIONS",
        "/bucket",
        {"headers": {"Origin": "http://a.example"}, "base_url": "http://s3.amazonaws.com"},
    ),
    ("POST", "/moto-api/reset", {}),
)


def make_app():
    import os

    os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
    from moto.server import create_backend_app

    return create_backend_app("s3")
