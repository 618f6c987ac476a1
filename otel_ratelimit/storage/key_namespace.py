"""The namespace at the start of every counter's key, which separates services that share one store.

    environment:namespace:service:application        production:payments:checkout:app
    prefix:application                               checkout-eu:app
    application                                      app

The first form comes from the OpenTelemetry resource (`service.name`, `service.namespace`,
`deployment.environment.name`; semantic conventions, "Service" and "Deployment"), whose parts may be empty.
The second form holds the prefix that an operator has chosen. The third form is used if nothing is known. The
application is Flask's import name, which is `app` for very many applications. Replicas of a service have
equal names, so they share counters; what differs between them (`service.instance.id`) is not part of the
namespace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

_MAX_PREFIX_CHARACTERS: Final = 96
"""A longer prefix from the resource is cut, and a hash is added, because every key contains it."""
_KEPT_CHARACTERS: Final = 64
_UNNAMED: Final = "unknown_service"
"""The SDK's name for a service without a name, alone or followed by a colon and the program."""

_NAME: Final = "service.name"
_NAMESPACE: Final = "service.namespace"
_ENVIRONMENTS: Final = ("deployment.environment.name", "deployment.environment")


@dataclass(frozen=True, slots=True)
class Service:
    """This service as the OpenTelemetry resource names it; an empty text stands for a missing attribute."""

    name: str = ""
    namespace: str = ""
    environment: str = ""


def service_of(environ: Mapping[str, str], providers: Iterable[object] = ()) -> Service:
    """The service, from the first of `providers` that has a resource, otherwise from the environment.

    Args:
        environ: read for `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
        providers: providers of meters or tracers. Those of the API without an SDK have no resource.
    """
    sources = [*filter(None, map(_resource_of, providers)), _declared(environ)]
    return Service(
        name=_first(sources, _NAME),
        namespace=_first(sources, _NAMESPACE),
        environment=_first(sources, *_ENVIRONMENTS),
    )


def key_prefix(chosen: str, service: Service) -> str:
    """The start of all keys of this service: the chosen prefix, otherwise the service; may be empty."""
    if chosen or service == Service():
        return chosen
    parts = (service.environment, service.namespace, service.name)
    prefix = ":".join(quote(part, safe="") for part in parts)
    if len(prefix) <= _MAX_PREFIX_CHARACTERS:
        return prefix
    digest = hashlib.blake2b(prefix.encode(), digest_size=8).hexdigest()
    return f"{prefix[:_KEPT_CHARACTERS]}~{digest}"


def key_namespace(prefix: str, import_name: str) -> str:
    """The namespace of one application's counters."""
    return f"{prefix}:{import_name}" if prefix else import_name


UNNAMED_SERVICE_WARNING: Final = (
    "counters are shared with every other service on this store whose Flask application has the same import "
    "name: set OTEL_SERVICE_NAME (and service.namespace, deployment.environment.name in "
    "OTEL_RESOURCE_ATTRIBUTES), or OTEL_RATELIMIT_KEY_PREFIX"
)
"""Logged if a store is shared, no prefix was chosen, and the service has no name."""


def _resource_of(provider: object) -> Mapping[str, object] | None:
    # A TracerProvider of the SDK has a public attribute; a MeterProvider keeps the resource in its
    # configuration.
    holder = provider if hasattr(provider, "resource") else getattr(provider, "_sdk_config", None)
    attributes = getattr(getattr(holder, "resource", None), "attributes", None)
    return attributes if isinstance(attributes, Mapping) else None


def _declared(environ: Mapping[str, str]) -> Mapping[str, object]:
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    declared: dict[str, object] = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        declared[_NAME] = name
    return declared


def _first(sources: Iterable[Mapping[str, object]], *names: str) -> str:
    for source in sources:
        for name in names:
            text = str(source.get(name) or "").strip()
            if text and text.partition(":")[0] != _UNNAMED:
                return text
    return ""
