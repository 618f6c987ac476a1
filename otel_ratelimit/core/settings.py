"""The sole reader of the environment: `OTEL_RATELIMIT_*` to one frozen `Settings`.

Every variable is also an argument of `RateLimit`; an argument wins. All problems are reported at once. A
variable with our prefix and an unknown name causes a warning with the nearest name.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from otel_ratelimit.core.errors import Problem, SettingsError
from otel_ratelimit.core.secret import NO_SECRET, HiddenValues, Secret
from otel_ratelimit.core.smtp_url import SmtpServer, smtp_url_problems
from otel_ratelimit.core.storage_uri import storage_uri

PREFIX: Final = "OTEL_RATELIMIT_"
DEFAULT_POLICY_FILE: Final = "ratelimit.toml"
DEFAULT_STORAGE_URI: Final = "bounded-memory://"

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_NO_WORKING_DIRECTORY: Final = Problem(
    f"{PREFIX}POLICY",
    "the working directory does not exist any more, so no policy can be looked for in it",
    "name the policy by an absolute path, or start in another folder",
)
_SECRET_MIN_CHARACTERS: Final = 16
_SECRETS: Final = frozenset(
    {"storage_uri", "hash_key", "database_url", "api_token", "admin_token", "smtp_url"}
)
"""Settings that are a `Secret`."""
LOG_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 1,
}
LOG_FORMATS: Final = ("text", "json")
_STORAGE_OPTIONS_FORM: Final = (
    """write a JSON object, for instance {"ssl_ca_certs": "/etc/ssl/redis-ca.pem"}"""
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"log_level": tuple(LOG_LEVELS), "log_format": LOG_FORMATS}
"""Settings that are one of a few words, in whatever case."""
_KEY_PREFIX: Final = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_MAY_HOLD_SECRETS: Final = frozenset({"storage_options"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""Characters that an `Authorization: Bearer` header can carry (RFC 6750, section 2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings outside the policy file. `None` means: not set.

    A value that is or may hold a secret cannot be printed by accident; a plain text given for it is wrapped.
    """

    enabled: bool = True
    """`OTEL_RATELIMIT_ENABLED`: false leaves the app as if the package were not there."""
    required: bool = False
    """`OTEL_RATELIMIT_REQUIRED`: true: the application does not start without its limits."""
    policy: Path | None = None
    """`OTEL_RATELIMIT_POLICY`: the policy file. Unset: `./ratelimit.toml` if it is there."""
    storage_uri: Secret = dataclasses.field(default_factory=lambda: storage_uri(DEFAULT_STORAGE_URI))
    """`OTEL_RATELIMIT_STORAGE_URI`: where counters live."""
    storage_options: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """`OTEL_RATELIMIT_STORAGE_OPTIONS`: a JSON object of options for the store's client."""
    key_prefix: str = ""
    """`OTEL_RATELIMIT_KEY_PREFIX`: what the keys of counters begin with. Unset: the service's name."""
    shadow: bool | None = None
    """`OTEL_RATELIMIT_SHADOW`: true counts and reports and never blocks. Unset: shadow only
    where there is no policy file."""
    trusted_proxies: str = ""
    """`OTEL_RATELIMIT_TRUSTED_PROXIES`: comma-separated CIDRs whose forwarding header is believed."""
    trusted_hops: int = 0
    """`OTEL_RATELIMIT_TRUSTED_HOPS`: how many proxies are in front. 0: not given."""
    proxy_header: str = ""
    """`OTEL_RATELIMIT_PROXY_HEADER`: the header that the proxies write. Unset: `X-Forwarded-For`."""
    hash_key: Secret = NO_SECRET
    """`OTEL_RATELIMIT_HASH_KEY`: secret for keyed hashes. Unset: random."""
    database_url: Secret = NO_SECRET
    """`OTEL_RATELIMIT_DATABASE_URL`: PostgreSQL for analytics. Unset: analytics are off."""
    api_token: Secret = NO_SECRET
    """`OTEL_RATELIMIT_API_TOKEN`: comma-separated bearer tokens that may read the HTTP API. Unset:
    nobody may."""
    admin_token: Secret = NO_SECRET
    """`OTEL_RATELIMIT_ADMIN_TOKEN`: likewise, that may also change. Unset: nobody may."""
    api_before_hooks: bool | None = None
    """`OTEL_RATELIMIT_API_BEFORE_HOOKS`: true serves the HTTP API ahead of the application's hooks, false
    behind them. Unset: ahead, unless the application checks itself who may use it."""
    query_sample_rate: float = 1.0
    """`OTEL_RATELIMIT_QUERY_SAMPLE_RATE`: share of distinct query executions kept, 0 to 1."""
    log_level: str = ""
    """`OTEL_RATELIMIT_LOG_LEVEL`: from which level on there are log lines. Unset: info where nobody has set
    logging up, else what the application has chosen."""
    log_format: str = ""
    """`OTEL_RATELIMIT_LOG_FORMAT`: of lines on standard error, text or json. Unset: text."""
    smtp_url: Secret = NO_SECRET
    """`OTEL_RATELIMIT_SMTP_URL`: mail server for the nightly report. Unset: no e-mail is sent."""

    def __post_init__(self) -> None:
        """Wrap the secrets that were given as plain texts."""
        for name in _SECRETS:
            value = getattr(self, name)
            if not isinstance(value, Secret):
                object.__setattr__(self, name, _wrapped(name, value))
        if not isinstance(self.storage_options, HiddenValues):
            object.__setattr__(self, "storage_options", HiddenValues(self.storage_options))

    @property
    def read_tokens(self) -> tuple[Secret, ...]:
        """The tokens that may read."""
        return _tokens(self.api_token)

    @property
    def admin_tokens(self) -> tuple[Secret, ...]:
        """The tokens that may also change."""
        return _tokens(self.admin_token)

    @property
    def smtp_server(self) -> SmtpServer | None:
        """The mail server; None where no e-mail is to be sent."""
        return SmtpServer.parse(self.smtp_url) if self.smtp_url else None

    def policy_file(self, working_directory: Path | None = None) -> Path | None:
        """The policy file to read: the one named, else `./ratelimit.toml` if there, else None.

        Args:
            working_directory: that of the process, if not given.

        Raises:
            SettingsError: the working directory is needed, and has been deleted.
        """
        if self.policy is not None and self.policy.is_absolute():
            return self.policy
        try:
            folder = working_directory or Path.cwd()
        except FileNotFoundError:
            raise SettingsError([_NO_WORKING_DIRECTORY]) from None
        if self.policy is not None:
            return folder / self.policy
        default = folder / DEFAULT_POLICY_FILE
        return default if _is_there(default) else None


def _is_there(path: Path) -> bool:
    """Whether anything is there, also something that cannot be read: then the start fails.

    A container makes a folder in place of a missing file, and a link may lead nowhere. If either were taken
    for no policy, nothing would be blocked.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def variable_names() -> tuple[str, ...]:
    """Every variable that has an effect."""
    return tuple(PREFIX + field.name.upper() for field in fields(Settings))


def public_variable_names() -> tuple[str, ...]:
    """The variables whose values anybody may see."""
    hidden = _SECRETS | _MAY_HOLD_SECRETS
    return tuple(PREFIX + field.name.upper() for field in fields(Settings) if field.name not in hidden)


def is_required(environ: Mapping[str, str]) -> bool:
    """Whether limits are required; also where other settings are not valid."""
    return environ.get(f"{PREFIX}REQUIRED", "").strip().lower() in _TRUE


def settings_from(environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Settings:
    """Read `environ`; a value in `overrides` (by field name; None means not given) wins.

    Raises:
        SettingsError: with every invalid value.
    """
    values, problems = _read(environ, overrides or {})
    if problems:
        # A traceback with the variables of each frame must not show what was written.
        del environ, overrides, values
        raise SettingsError(problems)
    if isinstance(values.get("policy"), str):
        values["policy"] = Path(str(values["policy"]))
    values |= {name: str(values[name]).lower() for name in _CHOICES if name in values}
    return Settings(**values)  # type: ignore[arg-type]  # built by field name just above


def _read(
    environ: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[dict[str, object], list[Problem]]:
    """The values that are given, by field name, and what is wrong with them."""
    given = {name: value for name, value in overrides.items() if value is not None}
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for field in fields(Settings):
        variable = PREFIX + field.name.upper()
        if field.name in given:
            values[field.name] = _wrapped(field.name, given[field.name])
            continue
        raw = environ.get(variable, "").strip()
        if not raw:
            continue
        parsed = _parse(field.name, raw)
        if isinstance(parsed, Problem):
            problems.append(parsed)
        else:
            values[field.name] = _wrapped(field.name, parsed)
    problems.extend(_check(values))
    return values, problems


def _wrapped(name: str, value: object) -> object:
    """`value` as the setting `name` holds it."""
    if name == "storage_uri":
        return storage_uri(value if isinstance(value, Secret) else str(value))
    if name in _SECRETS and not isinstance(value, Secret):
        return Secret(str(value))
    if name == "storage_options" and isinstance(value, Mapping):
        return HiddenValues(value)
    return value


def _secret(values: Mapping[str, object], name: str) -> Secret:
    found = values.get(name)
    return found if isinstance(found, Secret) else NO_SECRET


def _parse(name: str, raw: str) -> object | Problem:
    reader = _READERS.get(name)
    if reader is not None:
        return reader(raw)
    if name in {"enabled", "shadow", "required", "api_before_hooks"}:
        lowered = raw.lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
        return Problem(PREFIX + name.upper(), f"{raw!r} is neither true nor false", "write true or false")
    return raw


def _hops(raw: str) -> int | Problem:
    if raw.isascii() and raw.isdigit():
        return int(raw[:9])
    what = f"{raw!r} is not a number of proxies"
    return Problem(PREFIX + "TRUSTED_HOPS", what, "write a whole number, for instance 2")


def _json_object(raw: str) -> object | Problem:
    """Parse `raw`, and never show it, because it may hold a password."""
    try:
        parsed: object = json.loads(raw)
    except ValueError as error:
        where = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        return Problem(PREFIX + "STORAGE_OPTIONS", f"is not JSON{where}", _STORAGE_OPTIONS_FORM)
    return parsed


def _rate(given: object) -> float | Problem:
    try:
        rate = float(given)  # type: ignore[arg-type]  # anything but a number raises
    except (TypeError, ValueError):
        rate = -1.0
    if 0.0 <= rate <= 1.0:
        return rate
    what = f"{given!r} is not a share"
    return Problem(PREFIX + "QUERY_SAMPLE_RATE", what, "write a number from 0 to 1, for instance 0.1")


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "policy": Path,
    "query_sample_rate": _rate,
    "storage_options": _json_object,
    "trusted_hops": _hops,
}
"""Readers of the variables that are neither text nor a switch."""


def _tokens(raw: Secret) -> tuple[Secret, ...]:
    return tuple(Secret(token) for part in raw.reveal().split(",") if (token := part.strip()))


def _check(values: Mapping[str, object]) -> Iterator[Problem]:
    if values.get("required") is True and values.get("enabled") is False:
        yield Problem(
            PREFIX + "REQUIRED",
            f"contradicts {PREFIX}ENABLED=false",
            f"unset one of them; {PREFIX}SHADOW=true counts and blocks nothing",
        )
    hash_key = _secret(values, "hash_key")
    if hash_key:
        yield from _check_secret("HASH_KEY", hash_key)
    readers, admins = (_tokens(_secret(values, name)) for name in ("api_token", "admin_token"))
    for name, tokens in (("API_TOKEN", readers), ("ADMIN_TOKEN", admins)):
        for token in tokens:
            yield from _check_secret(name, token)
            if not _TOKEN.fullmatch(token.reveal()):
                yield Problem(
                    PREFIX + name,
                    "a token holds a character that an Authorization header cannot carry",
                    "use letters, digits and - . _ ~ + / only, for instance from `openssl rand -hex 32`",
                )
    if set(readers) & set(admins):
        yield Problem(
            PREFIX + "ADMIN_TOKEN",
            f"is also in {PREFIX}API_TOKEN, so anybody who may read could change",
            "use another one",
        )
    rate = _rate(values.get("query_sample_rate", 1.0))
    if isinstance(rate, Problem):
        yield rate
    smtp_url = _secret(values, "smtp_url")
    if smtp_url:
        yield from smtp_url_problems(smtp_url)
    yield from _check_storage(values)
    yield from _check_choices(values)
    policy = values.get("policy")
    if isinstance(policy, str | Path) and "\0" in str(policy):
        yield Problem(PREFIX + "POLICY", "a path cannot hold a NUL character")


def _check_storage(values: Mapping[str, object]) -> Iterator[Problem]:
    options = values.get("storage_options", {})
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        yield Problem(
            PREFIX + "STORAGE_OPTIONS", "is not an object of options by name", _STORAGE_OPTIONS_FORM
        )
    key_prefix = str(values.get("key_prefix", ""))
    if key_prefix and not _KEY_PREFIX.fullmatch(key_prefix):
        what = f"{key_prefix!r} is not a prefix for keys"
        yield Problem(PREFIX + "KEY_PREFIX", what, "use 1 to 64 letters, digits and . _ : / -")


def _check_choices(values: Mapping[str, object]) -> Iterator[Problem]:
    for name, choices in _CHOICES.items():
        given = values.get(name)
        if given and str(given).lower() not in choices:
            what = f"{given!r} is not a {name.replace('_', ' ')}"
            yield Problem(PREFIX + name.upper(), what, f"write {', '.join(choices[:-1])} or {choices[-1]}")


def _check_secret(name: str, secret: Secret) -> Iterator[Problem]:
    length = len(secret.reveal())
    if length < _SECRET_MIN_CHARACTERS:
        yield Problem(
            PREFIX + name,
            f"a secret of {length} characters can be guessed",
            f"use at least {_SECRET_MIN_CHARACTERS}, for instance from `openssl rand -hex 32`",
        )


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each variable that has our prefix and no effect."""
    known = variable_names()
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        yield f"{name} is not a known variable" + (f"; did you mean {close[0]}?" if close else "")
