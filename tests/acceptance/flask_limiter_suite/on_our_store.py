"""A pytest plugin: where Flask-Limiter would open `memory://`, it opens our store."""

import flask_limiter._extension as extension

import otel_ratelimit.storage  # noqa: F401 - registers the scheme

_open = extension.storage_from_string


def storage_from_string(uri, **options):
    return _open("bounded-memory://" if uri == "memory://" else uri, **options)


extension.storage_from_string = storage_from_string
