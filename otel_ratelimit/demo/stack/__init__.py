"""The demo with collector, Prometheus and Alertmanager, on loopback and without Docker: `make stack`.

    traffic ─► application ─OTLP─► collector ─► Prometheus ─► Alertmanager
                   │                   └─► receiver          the traces that are kept
                   └─► PostgreSQL

The programs are the real ones, started as child processes with the files in `collector/`, as an operator
would use them; only addresses, folders and intervals are replaced. Tests start the same parts.
"""
