"""Rate-limit headers: their content, and how they are written to any response without failing.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers (structured fields,
RFC 9651) in the revision that the policy names; only this module depends on the revision.

A view may return any response: a subclass with headers of its own, or one whose `headers` were replaced by a
dict, a list or None. Werkzeug converts all of these to `Headers` when it sends the response; here that is
done a moment earlier. A response to which nothing can be written is sent as it is.
"""

from __future__ import annotations

import logging
from math import ceil
from typing import Final, NamedTuple

from flask import Response
from werkzeug.datastructures import Headers

from otel_ratelimit.core.decision import Decision, DecisionKind
from otel_ratelimit.core.route_plan import HeaderStyle, Window

_logger = logging.getLogger(__name__)

_PARAMETERS: Final = {11: ("r", "t"), 12: ("a", "w")}
"""By revision of the draft: the parameters for what is left, and for how many seconds."""

_MAX_PARTS: Final = 4096
_MAX_REPORTED: Final = 100

_IETF, _X, _RETRY = "ietf", "x", "retry"
_FAMILIES: Final = {
    "ratelimit": _IETF,
    "ratelimit-policy": _IETF,
    "x-ratelimit-limit": _X,
    "x-ratelimit-remaining": _X,
    "x-ratelimit-reset": _X,
    "retry-after": _RETRY,
}
"""Headers that are written together or not at all: a mixture of ours and the application's would mislead."""


class _Parts(NamedTuple):
    """The parts that are the same for all requests under the same windows."""

    windows: tuple[Window, ...]
    policy: str
    names: tuple[str, ...]
    visible: tuple[int, ...]
    """Indexes of the windows that the client sees: those that are enforced."""


class HeaderWriter:
    """Writes the rate-limit headers of a decision.

    The parts that do not change are cached by the identity of the windows: to hash them by value would cost
    more than to build them again.
    """

    def __init__(self, style: HeaderStyle) -> None:
        self._style = style
        self._ietf = style.draft in _PARAMETERS
        left, seconds = _PARAMETERS.get(style.draft, ("", ""))
        self._left, self._seconds = f";{left}=", f";{seconds}="
        self._parts: dict[int, _Parts] = {}
        self._reported: set[type] = set()

    def write(self, response: Response, decision: Decision | None) -> None:
        """Write the headers for `decision`; none for None.

        A header that the application wrote itself stays, and ours that belong with it are left out.
        """
        try:
            current = usable_headers(response)
            headers = self.headers(decision) if decision is not None else []
            if headers:
                for name, _ in current:
                    if name.lower() in _FAMILIES:
                        headers = _without(headers, current)
                        break
                _extend(response, current, headers)
        except Exception as error:  # noqa: BLE001 - the application's response may raise anything
            self._report(type(response), error)

    def headers(self, decision: Decision) -> list[tuple[str, str]]:
        """The headers for a response under `decision`; empty where no enforced limit was counted.

        The seconds of a refusing window are the time until it takes such a request again, so that
        `Retry-After` is never earlier than any of them. The client does not see windows in shadow.
        """
        states = decision.states
        if not states:
            return []
        windows = decision.windows
        parts = self._parts.get(id(windows)) or self._remember(windows)
        visible = parts.visible
        if not visible:
            return []
        blocked = decision.kind is DecisionKind.BLOCKED
        tightest = decision.tightest if decision.tightest in visible else visible[0]
        state = states[tightest]
        headers = []
        if self._ietf:
            names, seconds = parts.names, self._seconds
            if blocked:
                quotas = [
                    f"{names[i]}{states[i].remaining}{seconds}{ceil(states[i].retry_after)}"
                    for i in visible
                    if states[i].retry_after > 0.0
                ]
            else:
                quotas = [
                    f"{names[i]}{states[i].remaining}{seconds}{ceil(states[i].reset_after)}" for i in visible
                ]
            headers = [("RateLimit-Policy", parts.policy), ("RateLimit", ", ".join(quotas))]
        if self._style.x_headers:
            reset = ceil(decision.at + (state.retry_after or state.reset_after))
            headers += [
                ("X-RateLimit-Limit", str(windows[tightest].amount)),
                ("X-RateLimit-Remaining", str(state.remaining)),
                ("X-RateLimit-Reset", str(reset)),
            ]
        if blocked:
            headers.append(("Retry-After", str(retry_after_seconds(decision.retry_after))))
        return headers

    def _remember(self, windows: tuple[Window, ...]) -> _Parts:
        visible = tuple(i for i, window in enumerate(windows) if not window.shadow)
        names = tuple(f'"{window.name}"{self._left}' for window in windows)
        policy = ", ".join(
            f'"{windows[i].name}";q={windows[i].amount};w={windows[i].seconds}' for i in visible
        )
        if len(self._parts) >= _MAX_PARTS:
            self._parts = {}
        # The cache holds `windows`, so that no other object gets its id.
        parts = self._parts[id(windows)] = _Parts(windows, policy, names, visible)
        return parts

    def _report(self, kind: type, error: Exception) -> None:
        if kind in self._reported or len(self._reported) >= _MAX_REPORTED:
            return
        self._reported.add(kind)
        _logger.error(
            "rate-limit headers cannot be written to a response of type %s, which is sent without them: %r",
            kind.__qualname__,
            error,
        )


def _without(headers: list[tuple[str, str]], current: Headers) -> list[tuple[str, str]]:
    taken = {_FAMILIES.get(name.lower()) for name, _ in current}
    return [each for each in headers if _FAMILIES[each[0].lower()] not in taken]


def _extend(response: Response, current: Headers, headers: list[tuple[str, str]]) -> None:
    if type(current) is Headers:
        current.extend(headers)
        return
    try:
        current.extend(headers)
    except Exception:  # noqa: BLE001 - the application's headers may raise anything
        known = {name.lower() for name, _ in headers}
        kept = [each for each in current if each[0].lower() not in known]
        response.headers = Headers([*kept, *headers])


def usable_headers(response: Response) -> Headers:
    """The headers of a response, converted to werkzeug's class if the application replaced them.

    Raises:
        Exception: any exception of the application's own response class.
    """
    current = response.headers
    if not isinstance(current, Headers):
        current = response.headers = Headers(current)
    return current


def retry_after_seconds(seconds: float) -> int:
    """`Retry-After` in whole seconds: waiting that long is enough. At least one."""
    return max(1, ceil(seconds))
