"""Flask-Limiter's internals, as far as this package uses them: private attributes, and its logger.

The public methods of limit managers parse the limits, and may call the application for them; these attributes
are what was declared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Final

from flask_limiter import Limit, Limiter
from flask_limiter._manager import LimitManager
from flask_limiter.util import get_remote_address

from otel_ratelimit.web.lasting_limiter import LastingLimiter

decorated_limits: Final[Callable[[LimitManager], Mapping[str, Sequence[Limit]]]] = attrgetter(
    "_decorated_limits"
)
"""By the name of the function."""
blueprint_limits: Final[Callable[[LimitManager], Mapping[str, Sequence[Limit]]]] = attrgetter(
    "_blueprint_limits"
)
"""By the name of the blueprint."""
default_limits: Final[Callable[[LimitManager], Sequence[Limit]]] = attrgetter("_default_limits")
application_limits: Final[Callable[[LimitManager], Sequence[Limit]]] = attrgetter("_application_limits")


@contextmanager
def one_null_handler() -> Iterator[None]:
    """Within this block a Limiter is made: its logger gets no second `NullHandler`.

    Flask-Limiter adds one for each Limiter, and never removes it.
    """
    logger = logging.getLogger("flask-limiter")
    before = list(logger.handlers)
    yield
    if any(isinstance(handler, logging.NullHandler) for handler in before):
        for added in [handler for handler in logger.handlers if handler not in before]:
            logger.removeHandler(added)


def inert_limiter() -> Limiter:
    """A Limiter that limits nothing, for decorators while limits are off."""
    with one_null_handler():
        return LastingLimiter(get_remote_address, enabled=False)
