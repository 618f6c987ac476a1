"""The charts in the answer of `GET /cache-analysis`; the OpenAPI document describes them from here."""

from __future__ import annotations

from pydantic import Field

from otel_ratelimit.cache_advice.comparison import Basis, ComparedName
from otel_ratelimit.web.api.answer_types import Answer
from otel_ratelimit.web.api.cache_analysis_types import Amount, Day, Number, Share


class HitPotentialPoint(Answer):
    """One day of a chart over time."""

    date: Day
    hit_potential: Share
    duplicate_share: Share = Field(description="Share that an unlimited cache would have answered.")


class BarsAnswer(Answer):
    """A bar chart: one label, one value."""

    unit: str = Field(description="The unit of the values; empty if there are none.", examples=["ms a day"])
    labels: list[str]
    values: list[Number]


class TopQueriesAnswer(BarsAnswer):
    """The ten queries to cache first; if none is worth it, the ten that repeat most, each with the reason."""

    worthwhile: list[bool] = Field(description="Whether caching pays, for each query; all are alike.")
    reasons: list[str] = Field(
        description="For each query, how it stays fresh enough, or why caching is not worth it."
    )


class ComparedAnswer(Answer):
    """A row of the comparison."""

    name: ComparedName
    unit: str = Field(description="The unit of the three figures.", examples=["queries a day", "USD a month"])
    without_cache: Number
    with_cache: Number
    difference: Number = Field(description="How much the cache adds; negative if it saves.")


class ComparisonAnswer(Answer):
    """The day without a cache and with it."""

    basis: Basis = Field(
        description=(
            "`plan`: with the cache that is advised; `everything`: none is, and all that a cache could answer"
            " goes through one all the same, with the TTL that would save most."
        )
    )
    ttl_seconds: Amount
    rows: list[ComparedAnswer]


class ChartsAnswer(Answer):
    """The same figures, arranged for charts."""

    hit_potential: list[HitPotentialPoint] = Field(description="By day, as in `trend`.")
    top_queries: TopQueriesAnswer = Field(
        description=(
            "Latency saved by each of `latest.most_worth`; where none is worth it, repeats of each of"
            " `latest.most_repeated`. Labels are the queries, shortened."
        )
    )
    cost_comparison: BarsAnswer = Field(
        description="Monthly cost with each price; the benefit last, if time has a value."
    )
    comparison_table: ComparisonAnswer | None = Field(
        description="Null where there was no query that a cache could answer, and in older reports."
    )
