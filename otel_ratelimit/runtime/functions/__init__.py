"""The public functions for a Python shell, a job or a notebook: docs/reference/functions.md.

They are imported from the room that they speak of: `otel_ratelimit.analytics`, `.queries`, `.reports`.
"""
