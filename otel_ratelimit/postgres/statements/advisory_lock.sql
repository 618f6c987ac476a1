-- name: begin
-- Without a snapshot that would keep VACUUM from its work, and however long the work takes.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL idle_in_transaction_session_timeout = 0

-- name: no_transaction_timeout
-- There is one since PostgreSQL 17.
SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'

-- name: try_lock
SELECT pg_try_advisory_xact_lock(%(lock)s)
