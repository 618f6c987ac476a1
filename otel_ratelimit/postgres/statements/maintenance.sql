-- name: begin
-- Independent of the session's settings: rows that arrive during the run are seen, and a table in use is skipped, because
-- waiting for it would make writers wait behind this statement.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '1s';
SET LOCAL statement_timeout = %(milliseconds)s

-- name: clock
SELECT clock_timestamp()
