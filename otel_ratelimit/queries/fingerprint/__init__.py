"""What code ran: a statement's template, its hash, and what it does to which tables.

statement_text  the text of whatever is given as a statement
lexer           PostgreSQL's lexical rules
splitting       texts of several statements
long_texts      of long lists of values, what differs
utility         names and settings in utility statements
normalise       one spelling, without literals
tables          which tables it names
words           what its words mean here
template        all of this together
template_cache  the same, for texts that come again
comments        statements without their comments, for the key of an execution
"""

from __future__ import annotations

from otel_ratelimit.queries.fingerprint.long_texts import MAX_READ_CHARACTERS
from otel_ratelimit.queries.fingerprint.splitting import split_statements
from otel_ratelimit.queries.fingerprint.statement_text import is_statement, statement_text
from otel_ratelimit.queries.fingerprint.template import MAX_TEMPLATE_CHARACTERS, hash_query, template_of
from otel_ratelimit.queries.fingerprint.template_cache import TemplateCache, without_values

__all__ = [
    "MAX_READ_CHARACTERS",
    "MAX_TEMPLATE_CHARACTERS",
    "TemplateCache",
    "hash_query",
    "is_statement",
    "split_statements",
    "statement_text",
    "template_of",
    "without_values",
]
