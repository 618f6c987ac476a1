"""Shadow mode: whether limits only observe, and refuse nobody."""

from __future__ import annotations

from typing import Final

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.settings import Settings

_NO_POLICY: Final = Problem(
    "OTEL_RATELIMIT_REQUIRED",
    "there is no policy file, so nothing would be limited",
    "name one with OTEL_RATELIMIT_POLICY, or enforce the built-in policy with OTEL_RATELIMIT_SHADOW=false",
)


def only_observes(settings: Settings, *, is_built_in: bool) -> bool:
    """Whether all limits only observe: as the settings say, else where the policy is the built-in one.

    Nobody wrote the built-in policy for this application, so it refuses nobody unless it is enforced.

    Raises:
        SettingsError: limits are required, and there is no policy to enforce.
    """
    if settings.shadow is not None:
        return settings.shadow
    if is_built_in and settings.required:
        raise SettingsError([_NO_POLICY])
    return is_built_in
