"""What an operator reads: refusals in the application log, and where the plugin's log lines go.

refusals       counts refusals on the request path; the background thread writes the lines
refusal_lines  one line per client, limit and minute
addresses      what of an address a line shows: whole, masked or hashed
output         who writes the plugin's lines, and from which level on
formats        text and JSON
start          the logger of what is in force at the start
otel_records   the same lines as OpenTelemetry log records
"""

from otel_ratelimit.telemetry.logs.output import LogOutput, open_output
from otel_ratelimit.telemetry.logs.refusal_log import FLUSH_SECONDS, RefusalLog
from otel_ratelimit.telemetry.logs.shown_addresses import ShownAddresses

__all__ = ["FLUSH_SECONDS", "LogOutput", "RefusalLog", "ShownAddresses", "open_output"]
