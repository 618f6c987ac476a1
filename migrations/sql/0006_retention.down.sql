DROP INDEX otel_ratelimit.rate_limit_usage_service;
DROP INDEX otel_ratelimit.rate_limit_analytics_service;
DROP TABLE otel_ratelimit.maintenance_state;
DROP TABLE otel_ratelimit.service_retention;
