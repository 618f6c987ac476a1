"""Rate limits for Flask APIs on PostgreSQL, without touching the app."""
