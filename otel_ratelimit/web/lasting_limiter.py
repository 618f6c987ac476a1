"""A Flask-Limiter that exists as long as a view that it limits.

Flask-Limiter's limits refer to their limiter weakly, and a view fails once the limiter is gone. That happens
to an application factory that keeps no reference to its `RateLimit`, where limits are switched off or closed.
"""

from __future__ import annotations

from typing import Any, cast

from flask_limiter import Limiter, RouteLimit


class LastingLimiter(Limiter):
    """A `Limiter` whose limits refer to it strongly."""

    def limit(self, *arguments: Any, **options: Any) -> RouteLimit:
        """As `Limiter.limit`."""
        return self._held(super().limit(*arguments, **options))

    def shared_limit(self, *arguments: Any, **options: Any) -> RouteLimit:
        """As `Limiter.shared_limit`."""
        return self._held(super().shared_limit(*arguments, **options))

    def _held(self, limit: RouteLimit) -> RouteLimit:
        cast("Any", limit).limiter = self
        return limit
