"""`otel-ratelimit doctor`: finds what prevents limits, telemetry or analytics from working here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Final, Literal, TypeAlias, cast

import click
from limits.storage import RedisStorage, Storage, storage_from_string

from otel_ratelimit.cli.chosen_database import chosen_database
from otel_ratelimit.cli.output import CHECK_FAILED, as_json_option, print_json, print_table
from otel_ratelimit.core.errors import (
    ConfigurationError,
    DatabaseError,
    Problem,
    RemediableError,
    SettingsError,
)
from otel_ratelimit.core.settings import PREFIX, Settings, settings_from, unknown_variables
from otel_ratelimit.policy import load_policy
from otel_ratelimit.policy.identity import HEADER_WITHOUT_TRUST, TrustedProxies
from otel_ratelimit.postgres.migrate import current
from otel_ratelimit.runtime import neighbours
from otel_ratelimit.storage import storage_options, validate_uri
from otel_ratelimit.storage.client_options import connection_problem, option_problems, refused_options

State: TypeAlias = Literal["ok", "note", "wrong"]

INSTRUMENTOR: Final = "otel_ratelimit"
_SIGNALS: Final = ("traces", "metrics", "logs")
_OTLP: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    state: State
    """`note`: it works, but something is off, or not as most applications want it."""
    what: str
    remedy: str = ""


@click.command()
@as_json_option
def doctor(as_json: bool) -> None:
    """Check what this package needs: other packages, settings, policy, store, database, exporters.

    Run it where the application runs, with the same environment. Nothing is changed, and no secret is
    printed. Exit status 1 if something is wrong.
    """
    findings = list(examine(os.environ))
    if as_json:
        print_json({"ok": not _wrong(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [(each.state.upper(), each.check, _sentence(each)) for each in findings]
        print_table(("STATE", "CHECK", "FOUND"), rows)
        click.echo(f"\n{_wrong(findings)} wrong, of {len(findings)} findings.")
    if _wrong(findings):
        sys.exit(CHECK_FAILED)


def examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    """All findings, the packages first."""
    yield from _packages()
    yield _instrumentor(environ)
    yield from _exporters(environ)
    try:
        settings = settings_from(environ)
    except ConfigurationError as error:
        yield from _problems("settings", error.problems)
        return
    yield from _settings(environ, settings)
    for check in (_policy, _storage, _database):
        yield from check(settings)


def _wrong(findings: list[Finding]) -> int:
    return sum(finding.state == "wrong" for finding in findings)


def _sentence(finding: Finding) -> str:
    return finding.what + (f"; {finding.remedy}" if finding.remedy else "")


def _problems(check: str, problems: tuple[Problem, ...] | list[Problem]) -> Iterator[Finding]:
    for problem in problems:
        yield Finding(check, "wrong", f"{problem.where}: {problem.what}", problem.instead)


def _packages() -> Iterator[Finding]:
    checks: tuple[tuple[str, Callable[[], Iterator[Problem]], str], ...] = (
        (
            "versions",
            lambda: neighbours.version_problems(neighbours.own_requirements()),
            "all required packages are installed and new enough",
        ),
        ("opentelemetry", neighbours.pair_problems, "its packages were released together"),
        ("psycopg2", neighbours.driver_problems, "installed once"),
    )
    for name, find, good in checks:
        problems = list(find())
        yield from _problems(name, problems)
        if not problems:
            yield Finding(name, "ok", good)


def _instrumentor(environ: Mapping[str, str]) -> Finding:
    group = "opentelemetry_instrumentor"
    if not entry_points(group=group, name=INSTRUMENTOR):
        what = f"the entry point {INSTRUMENTOR} of group {group} was not found"
        return Finding("instrumentor", "wrong", what, "install the package again: pip install otel-ratelimit")
    disabled = environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    if INSTRUMENTOR in {name.strip() for name in disabled.split(",")} or disabled.strip() == "*":
        what = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches it off"
        return Finding("instrumentor", "note", what, "then only RateLimit(app) sets limits")
    return Finding("instrumentor", "ok", "opentelemetry-instrument finds it")


def _exporters(environ: Mapping[str, str]) -> Iterator[Finding]:
    for signal in _SIGNALS:
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        value = environ.get(variable, "otlp").strip()
        if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            yield Finding(signal, "note", f"OTEL_SDK_DISABLED is true: no {signal} are exported")
        elif value.lower() in {"", "none"}:
            yield Finding(signal, "note", f"{variable} is {value or 'empty'}: no {signal} are exported")
        else:
            for given in value.split(","):
                yield _exporter(given.strip(), signal, environ)


def _exporter(given: str, signal: str, environ: Mapping[str, str]) -> Finding:
    name = _exporter_name(given, signal, environ)
    if entry_points(group=f"opentelemetry_{signal}_exporter", name=name):
        return Finding(signal, "ok", f"exporter {name}")
    what = f"OTEL_{signal.upper()}_EXPORTER: the exporter {name!r} is not installed"
    return Finding(signal, "wrong", what, "opentelemetry-instrument sets up nothing until it is installed")


def _exporter_name(given: str, signal: str, environ: Mapping[str, str]) -> str:
    if given != "otlp":
        return given
    variables = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environ[name].strip() for name in variables if environ.get(name)), "grpc")
    return _OTLP.get(protocol, f"otlp ({protocol})")


def _settings(environ: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    wrong = [Finding("settings", "wrong", sentence) for sentence in unknown_variables(environ)]
    try:
        trusted = TrustedProxies.parse(settings.trusted_proxies, settings.trusted_hops, settings.proxy_header)
    except SettingsError as error:
        wrong += _problems("settings", error.problems)
    else:
        if settings.proxy_header and not trusted:
            wrong.append(Finding("settings", "wrong", HEADER_WITHOUT_TRUST))
    yield from wrong
    if not settings.enabled:
        yield Finding("settings", "note", f"{PREFIX}ENABLED is false: nothing is limited or counted")
    elif not wrong:
        yield Finding("settings", "ok", "every OTEL_RATELIMIT_* variable is known and valid")


def _policy(settings: Settings) -> Iterator[Finding]:
    try:
        path = settings.policy_file()
    except SettingsError as error:
        yield from _problems("policy", error.problems)
        return
    if path is None:
        yield _no_policy(settings)
        return
    try:
        load_policy(path)
    except ConfigurationError as error:
        yield from _problems("policy", error.problems)
    else:
        if settings.shadow:
            what = f"{path} is valid; {PREFIX}SHADOW is true, so limits are only observed"
            yield Finding("policy", "note", what)
        else:
            yield Finding("policy", "ok", f"{path} is valid")


def _no_policy(settings: Settings) -> Finding:
    remedy = "write ./ratelimit.toml, or set OTEL_RATELIMIT_POLICY"
    if settings.shadow is False:
        return Finding("policy", "note", "no policy file, so the built-in policy is enforced", remedy)
    if settings.required and settings.shadow is None:
        what = f"no policy file, and {PREFIX}REQUIRED is true: the application does not start"
        return Finding("policy", "wrong", what, remedy)
    return Finding("policy", "note", "no policy file, so limits are only observed", remedy)


def _storage(settings: Settings) -> Iterator[Finding]:
    uri, given = settings.storage_uri, settings.storage_options
    problems = validate_uri(uri) or option_problems(uri, given)
    if problems:
        yield from _problems("storage", problems)
        return
    shown, reachable = str(uri), "check that it is running and reachable"
    try:
        storage = cast(Storage, storage_from_string(uri.reveal(), **storage_options(uri, given)))  # type: ignore[arg-type]  # as Flask-Limiter does
        problem = connection_problem(storage, given)
        answers = problem is None and _answers(storage)
    except (AttributeError, TypeError, ValueError) as error:
        problem, answers = refused_options(given, error), False
    except Exception as error:  # noqa: BLE001 - the client library may raise anything
        yield Finding("storage", "wrong", f"{shown}: {type(error).__name__}", reachable)
        return
    if problem is not None:
        yield from _problems("storage", [problem])
    elif answers:
        yield Finding("storage", "ok", f"{shown} answers")
    else:
        yield Finding("storage", "wrong", f"{shown} does not answer", reachable)


def _answers(storage: Storage) -> bool:
    """Whether the store answers; raises the client's error, which `check` would hide."""
    if isinstance(storage, RedisStorage):
        return bool(storage.get_connection().ping())
    return storage.check()


def _database(settings: Settings) -> Iterator[Finding]:
    if not settings.database_url:
        yield Finding("database", "note", "OTEL_RATELIMIT_DATABASE_URL is not set: analytics are off")
        return
    try:
        with chosen_database(settings.database_url) as url:
            found = current(url)
    except (DatabaseError, RemediableError) as error:
        yield Finding("database", "wrong", str(error))
        return
    if found.pending:
        what = f"reachable; pending steps: {', '.join(found.pending)}"
        yield Finding("database", "wrong", what, "otel-ratelimit db upgrade")
    else:
        yield Finding("database", "ok", f"reachable, and at step {found.revision}")
