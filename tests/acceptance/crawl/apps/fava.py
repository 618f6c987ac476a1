"""fava: a complete application, the pages of an accounting program."""

REQUIREMENTS = ("fava",)
SKIP = ("/static/",)
LEDGER = """
option "title" "Books"
option "operating_currency" "EUR"
2024-01-01 open Assets:Bank EUR
2024-01-01 open Expenses:Food EUR
2024-02-03 * "Shop" "bread"
  Assets:Bank  -3.20 EUR
  Expenses:Food
"""
PATHS = ("/books/income_statement/", "/books/journal/", "/books/api/changed", "/books/errors/")
REQUESTS = (
    *(
        ("GET", f"/books/api/{name}", {})
        for name in (
            "balance_sheet",
            "commodities",
            "documents",
            "errors",
            "events",
            "imports",
            "journal",
            "ledger_data",
            "options",
            "income_statement",
            "trial_balance",
            "no_such",
        )
    ),
    ("GET", "/books/api/query?query_string=select%20account", {}),
    ("PUT", "/books/api/format_source", {"json": {"source": "2024-01-01  open   Assets:Bank"}}),
    ("PUT", "/books/api/format_source", {"data": b"{"}),
    ("GET", "/books/statement/?entry_hash=none&key=x", {}),
    ("GET", "/books/download-journal/", {}),
)


def make_app():
    from pathlib import Path

    from fava.application import create_app

    books = Path.cwd() / "books.beancount"
    books.write_text(LEDGER)
    return create_app([books], load=True)
