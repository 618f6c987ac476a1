"""`otel-ratelimit demo`: a real API on a real PostgreSQL, rate limited under real traffic.

    command ─► runner ─► postgres            the wheel's PostgreSQL, as a child process
                     ├─► server              opentelemetry-instrument gunicorn jobs_app.app:app
                     │     └─► receiver ─► telemetry    what the plugin reports, over OTLP
                     ├─► traffic ─► personas            locust, in a process of its own
                     │     └─► clients                  what the clients saw
                     └─► outcome ─► screen              both sides compared, and printed

`jobs_app` is the application; it knows nothing of the rest. Every process has a supervisor that ends it.
"""
