"""Keywords of PostgreSQL's SQL that make a difference to templates.

PostgreSQL's documentation: "SQL Key Words".
"""

from __future__ import annotations

from typing import Final

BEFORE_OPERAND: Final = frozenset(
    """all and any as asc between by case check default desc distinct do else end except exists filter for
    from group having ilike in intersect into is join key like limit not null offset on only or order over
    partition returning row select set similar some then to union using values when where window with
    isnull notnull collate materialized recursive lateral fetch first next rows only
    """.split()
) - {"end", "null", "isnull", "notnull", "row"}
"""Keywords before an operand, a list or a subquery. After them `-` is a sign, and parentheses are no call."""

READING: Final = frozenset(
    """select values table show explain fetch declare close move begin start commit end rollback abort
    savepoint release set reset discard listen unlisten deallocate copy
    """.split()
)
"""First words of statements that change no data by themselves."""

VERBS: Final = frozenset({"select", "insert", "update", "delete", "merge", "values", "table"})

FROM_WITHIN: Final = frozenset({"extract", "substring", "trim", "overlay", "position"})
"""Functions with a FROM among their arguments."""

CONSTANTS: Final = frozenset({"null", "true", "false"})

RESERVED: Final = BEFORE_OPERAND | frozenset(
    """all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean
    both case cast char character check coalesce collate collation column concurrently constraint create cross
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec
    decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign
    freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect
    interval into is isnull join json json_array json_arrayagg json_exists json_object json_objectagg
    json_query json_scalar json_serialize json_table json_value lateral leading least left like limit
    localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif
    numeric offset on only or order out outer overlaps overlay placing position precision primary real
    references returning right row select session_user setof similar smallint some substring symmetric
    system_user table tablesample then time timestamp to trailing treat trim true union unique user using
    values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    insert update delete merge""".split()
)
"""Words that may mean something else without quotes.

These are the words that `pg_get_keywords()` of PostgreSQL 18 calls reserved, or that cannot be functions or
types (`"char"` is not `char`), and words that this package interprets.
"""
