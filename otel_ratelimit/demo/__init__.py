"""`otel-ratelimit demo`: a real API on a real PostgreSQL, rate limited under real traffic.

    command ─► runner ─► postgres            the wheel's PostgreSQL, as a child process
                     ├─► gunicorn_server     opentelemetry-instrument gunicorn jobs_app.app:app
                     │     └─► otlp_receiver ─► received_telemetry    what the plugin reports, over OTLP
                     ├─► traffic ─► personas                          locust, in a process of its own
                     │     └─► client_reports                         what the clients saw
                     └─► results ─► results_tables ─► terminal        both sides compared, and printed

`jobs_app` is the application; it knows nothing of the rest. Every process ends with the demo
(`postgres.embedded.child_supervisor`).
"""
