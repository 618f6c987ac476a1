"""The HTTP API below `/api/rate-limit`: what the limiter holds, decided and would decide.

blueprint      routes, and one way for every request: services, access, parameters, answer
before_hooks   serves it before the application's hooks
access         who may use it: tokens, or the application's own check
endpoints      the table of endpoints
metrics, analytics, cache_analysis, status   a module for each question; parameters and answers in `*_models`
parameters     from a query string to a model
problems       the answers when there is none (RFC 9457)
openapi        the description, made from the table of endpoints and the models
services       what the endpoints need of the application around them
"""

from otel_ratelimit.web.api.before_hooks import ApiBeforeHooks
from otel_ratelimit.web.api.blueprint import BLUEPRINT_NAME, URL_PREFIX, api_blueprint
from otel_ratelimit.web.api.cleanup_tally import CleanupTally, CleanupTotals
from otel_ratelimit.web.api.services import ApiServices

__all__ = [
    "BLUEPRINT_NAME",
    "URL_PREFIX",
    "ApiBeforeHooks",
    "ApiServices",
    "CleanupTally",
    "CleanupTotals",
    "api_blueprint",
]
