"""The HTTP API below `/api/rate-limit`: what the limiter holds, decided and would decide.

blueprint   routes, and one way for every request: services, authentication, parameters, answer
ahead       serves it before the application's hooks
auth        who may ask
parameters  from a query string to a model
metrics, analytics, cache_analysis, status   one module for each question
models, cache_models   the answers
problems    the answers when there is none (RFC 9457)
openapi     the description, from the same table of endpoints and models
services    what all of it is joined to
"""

from otel_ratelimit.web.api.before_hooks import ApiBeforeHooks
from otel_ratelimit.web.api.blueprint import BLUEPRINT_NAME, URL_PREFIX, api_blueprint
from otel_ratelimit.web.api.services import ApiServices, CleanupTally, CleanupTotals

__all__ = [
    "BLUEPRINT_NAME",
    "URL_PREFIX",
    "ApiBeforeHooks",
    "ApiServices",
    "CleanupTally",
    "CleanupTotals",
    "api_blueprint",
]
