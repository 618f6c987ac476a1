"""The private attributes of Flask-Limiter's limit managers that this package reads.

The public methods parse the limits, and may call the application for them; these return what was declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final

from flask_limiter import Limit
from flask_limiter._manager import LimitManager

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
