"""A shop's database, and the queries of its pages.

They range from reads of one row, which take a fraction of a millisecond, to sums over thousands of orders,
which take many milliseconds.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final, NamedTuple

import numpy as np
import psycopg2

PRODUCTS: Final = 50_000
CUSTOMERS: Final = 20_000
ORDERS: Final = 300_000
CATEGORIES: Final = 250
REGIONS: Final = 20

_TABLES: Final = (
    """CREATE TABLE products AS
    SELECT i AS id, 'product ' || i AS name, (i::bigint * 7919) %% %(categories)s AS category,
        (i::bigint * 104729 %% 90000)::numeric / 100 AS price,
        repeat('what it is good for; ', 10) AS description
    FROM generate_series(1, %(products)s) AS i""",
    """CREATE TABLE orders AS
    SELECT i AS id, 1 + (i::bigint * 15485863) %% %(customers)s AS customer_id,
        1 + (i::bigint * 32452843) %% %(products)s AS product_id,
        (i::bigint * 49979687) %% %(regions)s AS region,
        timestamptz '2026-01-01' + i * interval '90 seconds' AS placed, (i %% 97)::numeric / 4 AS amount,
        (ARRAY['open', 'sent', 'paid'])[1 + i %% 3] AS state
    FROM generate_series(1, %(orders)s) AS i""",
    "ALTER TABLE products ADD PRIMARY KEY (id)",
    "ALTER TABLE orders ADD PRIMARY KEY (id)",
    "CREATE INDEX ON products (category)",
    "CREATE INDEX ON orders (customer_id, placed)",
    "CREATE INDEX ON orders (product_id)",
    "CREATE INDEX ON orders (region)",
    "VACUUM ANALYZE",
)


class Question(NamedTuple):
    """A query with one parameter."""

    text: str
    share: float
    """Share of all reads."""
    values: int
    """Number of different parameters, from 1; lower ones are more frequent."""


QUESTIONS: Final = (
    Question("SELECT id, name, price, description FROM products WHERE id = %s", 0.38, 3_000),
    Question(
        "SELECT o.id, o.placed, o.amount, o.state, p.name FROM orders AS o"
        " JOIN products AS p ON p.id = o.product_id WHERE o.customer_id = %s ORDER BY o.placed DESC LIMIT 10",
        *(0.28, 1_500),
    ),
    Question("SELECT id, name, price FROM products WHERE category = %s ORDER BY price", 0.18, 200),
    Question(
        "SELECT p.id, count(*), sum(o.amount) FROM products AS p JOIN orders AS o ON o.product_id = p.id"
        " WHERE p.category = %s GROUP BY p.id ORDER BY 3 DESC LIMIT 20",
        *(0.10, 120),
    ),
    Question(
        "SELECT date_trunc('month', placed), state, count(*), sum(amount) FROM orders WHERE region = %s"
        " GROUP BY 1, 2",
        *(0.06, REGIONS),
    ),
)


class Read(NamedTuple):
    """One execution of a question."""

    at: float
    """Seconds from the start."""
    text: str
    value: int


def fill(url: str) -> None:
    """Make the shop's tables in an empty database."""
    figures = {
        "products": PRODUCTS,
        "customers": CUSTOMERS,
        "orders": ORDERS,
        "regions": REGIONS,
        "categories": CATEGORIES,
    }
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in _TABLES:
            cursor.execute(statement, figures if "%(" in statement else None)


def drawn(seed: int, reads: int, seconds: float, skew: float = 1.1) -> list[Read]:
    """Draw `reads` reads, spread evenly over the time, whose parameters follow a Zipf distribution."""
    draw = np.random.default_rng(seed)
    at = np.sort(draw.random(reads) * seconds)
    which = draw.choice(len(QUESTIONS), reads, p=[question.share for question in QUESTIONS])
    value = np.zeros(reads, dtype=np.int64)
    for place, question in enumerate(QUESTIONS):
        edges = np.cumsum(1.0 / np.arange(1, question.values + 1) ** skew)
        asked = np.flatnonzero(which == place)
        value[asked] = 1 + np.searchsorted(edges, draw.random(len(asked)) * edges[-1])
    columns = (at.tolist(), which.tolist(), value.tolist())
    return [Read(when, QUESTIONS[place].text, each) for when, place, each in zip(*columns, strict=True)]
