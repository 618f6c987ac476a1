-- name: relations
-- Tables and views, without the partitions of days.
SELECT c.oid, c.relname, c.relkind::text, coalesce(obj_description(c.oid, 'pg_class'), ''),
    coalesce(pg_get_partkeydef(c.oid), ''), coalesce(pg_get_expr(c.relpartbound, c.oid), ''),
    coalesce(parent.relname, '')
FROM pg_catalog.pg_class AS c
LEFT JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid
LEFT JOIN pg_catalog.pg_class AS parent ON parent.oid = i.inhparent
WHERE c.relnamespace = to_regnamespace('otel_ratelimit') AND c.relkind IN ('r', 'p', 'v')
AND c.relname !~ '^query_logs_[0-9]{8}$'
ORDER BY c.relname

-- name: columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    CASE WHEN a.attidentity <> '' THEN 'generated' ELSE coalesce(pg_get_expr(d.adbin, d.adrelid), '') END,
    coalesce(col_description(a.attrelid, a.attnum), '')
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(relation)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: checks
SELECT pg_get_constraintdef(oid)
FROM pg_catalog.pg_constraint
WHERE conrelid = %(relation)s AND contype = 'c'
ORDER BY conname

-- name: indexes
SELECT c.relname, pg_get_indexdef(c.oid), i.indisprimary, coalesce(obj_description(c.oid, 'pg_class'), '')
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = %(relation)s
ORDER BY NOT i.indisprimary, c.relname
