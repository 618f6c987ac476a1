"""The public functions for a Python shell, a job or a notebook: docs/reference/functions.md.

Applications import them from the package of their subject: `otel_ratelimit.analytics`, `.queries`,
`.reports`.
"""
