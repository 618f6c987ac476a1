"""Time that the plugin adds to a request, and that stock Flask-Limiter adds, in one run.

Copies of one Flask application, all instrumented by OpenTelemetry with a real SDK: bare; with stock
Flask-Limiter, two limits and headers; with ours, two limits, headers, metrics and span attributes; and
the same recorded in a real PostgreSQL. They are called in turn, round after round, so that noise falls on
all alike; the median over rounds is reported with its spread.

    python tests/benchmarks/bench_request.py [--rounds 60] [--calls 400] [--json FILE] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import pstats
import statistics
import time
from pathlib import Path

import flask
from bench_recorder import migrated_database
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from werkzeug.test import EnvironBuilder

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

LIMITS = "100000000/minute; 1000000000/hour"
POLICY = f'version = 1\n[tiers]\ndefault = "{LIMITS}"\n'
PROMISED_RATIO = 0.5
TITLES = {
    "stock": "stock Flask-Limiter, two limits, headers",
    "ours": "otel-ratelimit: two limits, headers, metrics, span attributes",
    "recorded": "... and every decision recorded in PostgreSQL",
}


class Discard(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS


def make_app(name, tracer_provider, meter_provider):
    app = flask.Flask(name)

    @app.get("/items/<int:item>")
    def item(item):
        return "ok"

    FlaskInstrumentor.instrument_app(app, tracer_provider=tracer_provider, meter_provider=meter_provider)
    return app


def caller(app):
    environ = EnvironBuilder(path="/items/7", environ_base={"REMOTE_ADDR": "192.0.2.7"}).get_environ()

    def start_response(status, headers, exc_info=None):
        if not status.startswith("200"):
            raise AssertionError(status)
        return lambda _: None

    def call():
        for chunk in app(dict(environ), start_response):
            assert chunk == b"ok"

    return call


def measure(call, calls):
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls * 1e6


def build(database_url):
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(BatchSpanProcessor(Discard()))
    meter_provider = MeterProvider(metric_readers=[InMemoryMetricReader()])
    bare = make_app("bare", tracer_provider, meter_provider)
    stock = make_app("stock", tracer_provider, meter_provider)
    Limiter(
        get_remote_address,
        app=stock,
        default_limits=LIMITS.split("; "),
        headers_enabled=True,
        storage_uri="memory://",
    )
    ours = make_app("ours", tracer_provider, meter_provider)
    recorded = make_app("recorded", tracer_provider, meter_provider)
    for app, url in ((ours, None), (recorded, database_url)):
        policy = parse_policy(POLICY, "bench.toml")
        RateLimit(app, policy=policy, database_url=url, environ={}, meter_provider=meter_provider)
    applications = {"bare": bare, "stock": stock, "ours": ours, "recorded": recorded}
    return {name: caller(app) for name, app in applications.items()}


def run(rounds, calls, database_url):
    callers = build(database_url)
    for call in callers.values():
        measure(call, calls)
    samples = {name: [] for name in callers}
    for _ in range(rounds):
        for name, call in callers.items():
            samples[name].append(measure(call, calls))
    added = {
        name: [with_it - bare for with_it, bare in zip(samples[name], samples["bare"], strict=True)]
        for name in ("stock", "ours", "recorded")
    }
    return {
        **{f"{name}_us": statistics.median(found) for name, found in samples.items()},
        **{f"added_by_{name}_us": statistics.median(found) for name, found in added.items()},
        "ratio": ratio(added["ours"], added["stock"]),
        "ratio_recorded": ratio(added["recorded"], added["stock"]),
        "promised_ratio": PROMISED_RATIO,
        "rounds": rounds,
        "calls": calls,
    }


def ratio(ours, stock):
    """Median, and the bounds of the middle half."""
    ratios = [mine / theirs for mine, theirs in zip(ours, stock, strict=True) if theirs > 0]
    low, _, high = statistics.quantiles(ratios, n=4)
    return [statistics.median(ratios), low, high]


def profile(calls):
    call = build(None)["ours"]
    measure(call, calls)
    profiler = cProfile.Profile()
    profiler.enable()
    measure(call, calls)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats("otel_ratelimit|opentelemetry/sdk/metrics", 30)


def main():
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        profile(5000)
        return
    with migrated_database() as database_url:
        result = run(options.rounds, options.calls, database_url)
    print("| request through an OTel-instrumented Flask | µs | added µs |")
    print("|---|---|---|")
    print(f"| bare | {result['bare_us']:.1f} | |")
    for name, title in TITLES.items():
        print(f"| {title} | {result[f'{name}_us']:.1f} | {result[f'added_by_{name}_us']:.1f} |")
    for name, title in (("ratio", "ratio"), ("ratio_recorded", "recorded in PostgreSQL too")):
        median, low, high = result[name]
        print(
            f"\n{title}: {median:.2f} (middle half of {options.rounds} rounds: {low:.2f} to {high:.2f};"
            f" promised: at most {PROMISED_RATIO})"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
