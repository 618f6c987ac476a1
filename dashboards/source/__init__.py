"""The four Grafana dashboards as code; `python -m dashboards.source` writes `dashboards/generated`.

Metrics are named by the constants of `otel_ratelimit.core.names`, so that a renamed metric breaks the
generator and not a panel at night. Thresholds are those of `otel_ratelimit.core.thresholds`, which alert
rules share.
The modules:

    overview        is anyone hurt, is the limiter healthy
    endpoints       decisions, headroom, limited clients
    cache_advisor   would a cache of query results pay
    plugin_health   memory, queues, policy, collector

    instruments     our metrics, their Prometheus names and labels      foreign   metrics of others
    promql          selectors and rates over them                       sql       statements, by name
    panels, tables  panels in one style                                 layout    where they go
    variables, annotations, links                                       what all four have in common

Grafana's *classic* JSON (schema version 42), which file provisioning takes.
"""
