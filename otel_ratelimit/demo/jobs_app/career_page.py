"""Job postings out of a career page's HTML: each an <article data-reference data-city data-salary>."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser


@dataclass
class Posting:
    """One posting as the page has it."""

    reference: str
    city: str
    salary: int
    title: str = ""
    text: str = ""


def postings(html: str) -> list[Posting]:
    """All postings on the page, in its order."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Posting] = []
        self._inside = False
        self._heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            given = dict(attrs)
            salary = given.get("data-salary") or ""
            self.found.append(
                Posting(
                    given.get("data-reference") or "",
                    given.get("data-city") or "",
                    int(salary) if salary.isdecimal() else 0,
                )
            )
            self._inside = True
        self._heading = self._heading or tag == "h2"

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._inside = False
        elif tag == "h2":
            self._heading = False

    def handle_data(self, data: str) -> None:
        if not self._inside:
            return
        posting, words = self.found[-1], " ".join(data.split())
        if self._heading:
            posting.title = f"{posting.title} {words}".strip()
        else:
            posting.text = f"{posting.text} {words}".strip()
