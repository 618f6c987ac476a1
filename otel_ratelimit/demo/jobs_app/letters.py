"""The text of a covering letter."""

from __future__ import annotations

from string import Template

_LETTER = Template(
    "Dear $company team,\n\n"
    "your opening for $title reads as if it had been written for me: $reason.\n"
    "I work as $headline and would like to bring that to $company.\n\n"
    "Kind regards\n$name\n"
)


def cover_letter(*, name: str, headline: str, title: str, description: str, company: str) -> str:
    """A letter that takes up the first sentence of the job's description."""
    reason = description.partition(".")[0].strip()
    reason = reason[:1].lower() + reason[1:]
    return _LETTER.substitute(name=name, headline=headline, title=title, reason=reason, company=company)
