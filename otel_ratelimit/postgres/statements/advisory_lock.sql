-- name: begin
-- Without a snapshot, which would hold back VACUUM, and without a limit on the duration of the work.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL idle_in_transaction_session_timeout = 0

-- name: no_transaction_timeout
-- The setting exists since PostgreSQL 17.
SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'

-- name: try_lock
SELECT pg_try_advisory_xact_lock(%(lock)s)
