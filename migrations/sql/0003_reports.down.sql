DROP TABLE otel_ratelimit.alert_acknowledgements;
DROP VIEW otel_ratelimit.cache_analysis_latest;
DROP TABLE otel_ratelimit.cache_analysis_daily;
