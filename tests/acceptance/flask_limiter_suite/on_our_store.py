"""A pytest plugin: where Flask-Limiter would open `memory://`, it opens our store."""

import flask_limiter._extension as extension

from otel_ratelimit.storage import BoundedMemoryStorage

[SCHEME] = BoundedMemoryStorage.STORAGE_SCHEME

_open = extension.storage_from_string


def storage_from_string(uri, **options):
    return _open(f"{SCHEME}://" if uri == "memory://" else uri, **options)


extension.storage_from_string = storage_from_string
