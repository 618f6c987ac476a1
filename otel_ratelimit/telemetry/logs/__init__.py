"""Log lines for operators: refusals in the application log, and where the plugin's log lines go.

refusal_log        counts refusals on the request path; the background thread writes the lines
refusal_summaries  which lines are due: one per client, limit and minute
refusal_messages   what a line says
shown_addresses    how a line shows an address: whole, masked or hashed
distinct_count     about how many different clients there were
output             who writes the plugin's lines, and from which level on
formats            text and JSON
start_logger       the logger for what is in force at the start
otel_records       the same lines as OpenTelemetry log records
safe_handler       the base of the log handlers
"""

from otel_ratelimit.telemetry.logs.output import LogOutput, open_output
from otel_ratelimit.telemetry.logs.refusal_log import FLUSH_SECONDS, RefusalLog
from otel_ratelimit.telemetry.logs.shown_addresses import ShownAddresses

__all__ = ["FLUSH_SECONDS", "LogOutput", "RefusalLog", "ShownAddresses", "open_output"]
