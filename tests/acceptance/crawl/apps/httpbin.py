"""httpbin: a complete application that answers with every status and header."""

REQUIREMENTS = ("httpbin", "setuptools<81")
SKIP = ("/delay/", "/drip", "/uuid", "/stream-bytes")
REQUESTS = (
    ("POST", "/post", {"json": {"a": [1]}}),
    ("PUT", "/put", {"data": {"a": "b"}}),
    ("PATCH", "/patch", {"data": b"x"}),
    ("DELETE", "/delete", {}),
    *(("GET", f"/status/{code}", {}) for code in (200, 204, 301, 304, 401, 402, 418, 429, 503)),
    ("GET", "/basic-auth/a/b", {}),
    ("GET", "/basic-auth/a/b", {"auth": ("a", "b")}),
    ("GET", "/digest-auth/auth/a/b", {}),
    ("GET", "/hidden-basic-auth/a/b", {}),
    ("GET", "/bearer", {}),
    ("GET", "/stream/3", {}),
    ("GET", "/bytes/64?seed=1", {}),
    ("GET", "/range/256", {"headers": {"Range": "bytes=10-20"}}),
    ("GET", "/links/5/0", {}),
    ("GET", "/redirect/3", {}),
    ("GET", "/cookies/set?a=b", {}),
    ("GET", "/cache", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/etag/x", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/response-headers?RateLimit=mine&X-RateLimit-Limit=7", {}),
)


def make_app():
    from httpbin import app

    return app
