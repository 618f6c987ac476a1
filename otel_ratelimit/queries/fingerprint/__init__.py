"""From a statement to its template: what code ran, its hash, and what it does to which tables.

statement_text      the text of an object that is given as a statement
lexer               PostgreSQL's lexical rules
splitting           splits texts of several statements
long_texts          skips equal elements of long lists of values
utility_statements  leaves names and settings out of utility statements
generated_names     leaves out names that are generated for one run
normalise           one spelling, without literals
tables              which tables a statement names
keywords            lists of SQL keywords
volatile_functions  functions whose result differs from call to call, or that write
template            the template, from all of these
template_cache      remembers templates of texts that come again
comments            statements without their comments, for the key of an execution
"""

from __future__ import annotations

from otel_ratelimit.queries.fingerprint.long_texts import MAX_READ_CHARACTERS
from otel_ratelimit.queries.fingerprint.splitting import split_statements
from otel_ratelimit.queries.fingerprint.statement_text import is_statement, statement_text
from otel_ratelimit.queries.fingerprint.template import MAX_TEMPLATE_CHARACTERS, hash_query
from otel_ratelimit.queries.fingerprint.template_cache import TemplateCache, without_values

__all__ = [
    "MAX_READ_CHARACTERS",
    "MAX_TEMPLATE_CHARACTERS",
    "TemplateCache",
    "hash_query",
    "is_statement",
    "split_statements",
    "statement_text",
    "without_values",
]
