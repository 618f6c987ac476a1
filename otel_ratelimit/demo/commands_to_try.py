"""The commands that the demo prints for another terminal while it runs."""

from __future__ import annotations

from rich.text import Text

from otel_ratelimit.demo.jobs_app.seed import PASSWORD, email_of
from otel_ratelimit.demo.ports import LOOPBACK


def commands_to_try(port: int, dsn: str, token: str) -> Text:
    """Commands for another terminal, with what they show."""
    text = Text()
    for what, *commands in (
        ("In another terminal:", f"URL=http://{LOOPBACK}:{port}"),
        (
            "Five requests an hour reach the application (401: sign in first); the sixth gets 429:",
            "for i in 1 2 3 4 5 6; do curl -si -X POST $URL/api/scrape | grep -iE '^(HTTP|retry)'; done",
        ),
        (
            "A forged address changes nothing:",
            "curl -si -X POST -H 'X-Forwarded-For: 203.0.113.9' $URL/api/scrape",
        ),
        ("Responses to allowed requests say how much is left:", 'curl -si "$URL/api/jobs/search?q=python"'),
        (
            "A signed-in user has counters of their own (analyses: 10 a minute):",
            f'curl -s -c jar $URL/login --json \'{{"email":"{email_of(1)}","password":"{PASSWORD}"}}\'',
            "curl -si -b jar $URL/api/ai/analyze-jobs -d '{\"job_ids\":[1,2,3]}'",
        ),
        (
            "See who was limited, how much headroom limits leave, and whether a client would be limited:",
            f"AUTH='Authorization: Bearer {token}'",
            'curl -sH "$AUTH" "$URL/api/rate-limit/analytics?date_range=1h&group_by=client"',
            'curl -sH "$AUTH" "$URL/api/rate-limit/status?path=/api/scrape&method=POST&ip=127.0.0.1"',
            f"otel-ratelimit status --url $URL --token {token}",
        ),
        (
            "The whole cache report, as tables and as a page:",
            f"otel-ratelimit report show --database-url '{dsn}'",
            f"otel-ratelimit report show --database-url '{dsn}' --html report.html",
            'curl -sH "$AUTH" "$URL/api/rate-limit/cache-analysis"',
        ),
        ("The database:", f"psql '{dsn}'"),
    ):
        text.append(f"{what}\n", style="dim")
        for command in commands:
            text.append(f"  {command}\n")
    text.append("Ctrl-C stops everything.")
    return text
