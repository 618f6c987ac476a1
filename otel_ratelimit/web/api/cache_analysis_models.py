"""The parameters and the answer of `GET /cache-analysis`; the OpenAPI document describes them from here.

Shares are 0 to 1, percentages 0 to 100, sizes bytes, times milliseconds, moments ISO 8601 in UTC. Executions,
keys and bytes are estimates from a sample, rounded. All money is in `latest.currency`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from otel_ratelimit.cache_advice.cost_benefit import Certainty
from otel_ratelimit.cache_advice.daily_report import Scale
from otel_ratelimit.cache_advice.result import ObstacleName, ReasonName
from otel_ratelimit.core.cache_assumptions import PriceKind
from otel_ratelimit.web.api.answer_types import Answer, Count
from otel_ratelimit.web.api.cache_analysis_chart_models import ChartsAnswer
from otel_ratelimit.web.api.cache_analysis_types import (
    Amount,
    Day,
    Estimate,
    Moment,
    Number,
    Percentage,
    Share,
)
from otel_ratelimit.web.api.parameter_types import PERIOD, DateRange
from otel_ratelimit.web.api.parameters import Parameters


class CacheAnalysisParameters(Parameters):
    """The parameters of `GET /cache-analysis`."""

    date_range: Annotated[
        DateRange,
        Field(
            description=(
                f"{PERIOD} Every date that the period touches counts, and the report of a date is that of"
                " the day which has it in the report's own time zone."
            ),
            examples=["30d", "7d", "2026-01-01/2026-01-31"],
        ),
    ] = "30d"


class DaysAnswer(Answer):
    """The dates asked for, both included."""

    first: Day
    last: Day


class AtTtlAnswer(Answer):
    """A cache with one time to live."""

    ttl_seconds: Amount
    asked: Estimate = Field(description="Executions of the day that use the cache.")
    hits: Estimate = Field(description="Executions that the cache would have answered.")
    hit_ratio: Share = Field(description="Share of executions that the cache would have answered.")
    hit_ratio_low: Share = Field(description="Lower end of the 95 % confidence interval of `hit_ratio`.")
    hit_ratio_high: Share = Field(description="Upper end of that interval.")
    hit_ratio_dropped: Share = Field(
        description="Lower bound of the hit ratio if each write drops all cached entries of its table."
    )
    hit_ratio_dropped_by_row: Share = Field(
        description="Upper bound of the hit ratio if each write drops one entry of each template."
    )
    stale_by_table: Share = Field(
        description="Share of the hits older than a write to one of their tables, at most."
    )
    stale_by_row: Share = Field(
        description="The same if each write concerned one key of each template, all equally likely."
    )
    peak_keys: Estimate = Field(description="Number of entries when they take the most memory.")
    memory_bytes: Estimate = Field(
        validation_alias=AliasChoices("memory_bytes", "peak_bytes"),
        description="Memory that the engine needs for those entries, including its hash tables.",
    )
    latency_saved_ms: Number = Field(
        description="Over the day; negative if lookups in the cache take longer than its hits save."
    )
    database_saved_ms: Amount = Field(
        description="Time over the day for which the database would not have been busy."
    )


class AdviceAnswer(AtTtlAnswer):
    """How to cache. `hit_ratio` is as advised: with invalidation or without."""

    invalidate: bool = Field(
        description="Whether writes must drop cached entries of their tables; otherwise the TTL is enough."
    )
    reason: str


class PlanAnswer(AdviceAnswer):
    """One cache for all templates that are worth it, with one TTL. Ratios are of all cacheable executions."""

    templates: Count = Field(description="The number of those templates.")


class TemplateAnswer(Answer):
    """One query, without its values, in one database."""

    template_hash: str = Field(
        description="Decimal; a number of 64 bits does not survive JavaScript.", pattern="^-?[0-9]+$"
    )
    query: str = Field(validation_alias=AliasChoices("query", "template"))
    database: str
    tables: list[str] = Field(description="The tables that it reads.")
    executions: Count = Field(description="Executions that a cache could have answered.")
    unique: Count = Field(description="Different executions among them.")
    duplicates: Count = Field(description="Executions that had been run before on that day.")
    mean_duration_ms: Amount
    mean_result_bytes: Amount
    writes: Count = Field(description="Statements that wrote one of its tables.")
    has_own_share: bool = Field(
        description="False: too few of its keys were sampled, so it is assumed to behave like others."
    )
    advice: AdviceAnswer | None = Field(
        description=(
            "Advice for this template alone; null where caching it does not pay. The memory is its part at"
            " the peak of all templates together."
        )
    )
    worthwhile: bool = Field(description="Whether caching it pays: whether there is advice.")
    not_worth: str = Field(description="Why not, if there is no advice; otherwise empty.")
    obstacles: list[ObstacleName] = Field(
        description=(
            "The smallest set whose removal would make caching pay, the main one first; empty if it pays,"
            " and in reports of earlier versions."
        )
    )


class NotCacheableAnswer(Answer):
    """Executions that no cache can answer, for one reason."""

    reason: ReasonName
    executions: Estimate
    share: Share = Field(description="Share of all executions.")
    example: str = Field(description="The query, without its values, with the most of them.")


class QueriesAnswer(Answer):
    """The executions of the day."""

    total: Count = Field(description="All executions, as counted.")
    database_ms: Amount = Field(description="Time that all of them took in the database.")
    cacheable: Count = Field(description="Executions that a cache could answer.")
    unique: Count = Field(description="Different executions among those.")
    duplicates: Count = Field(description="Executions that had been run before on that day.")
    duplicate_percentage: Percentage = Field(description="Duplicates of the cacheable.")


class PriceAnswer(Answer):
    """One way to have a cache."""

    name: str
    kind: PriceKind
    as_of: Day | None = Field(description="When this was the price; null if that is not known.")


class PricedAnswer(Answer):
    """The cost of one way to run the cache."""

    name: str
    monthly_cost: Number


class CostBenefitAnswer(Answer):
    """Costs and benefits of the planned cache."""

    monthly_cost: Number = Field(description="Cost with the cheapest price; 0 without a plan.")
    monthly_benefit: Number = Field(description="0 where no value is set.")
    by_price: list[PricedAnswer] = Field(
        description="Cost with each price, the cheapest first; empty without a plan."
    )
    cheapest: PriceAnswer | None = Field(description="Null where there is no plan.")
    load_reduction: Share = Field(description="Share of the database's time that would be saved.")
    break_even_executions_a_day: Amount | None = Field(
        description="From so many executions on it pays, if they are alike; null: never, or no value is set."
    )
    latency_saved_ms_a_day: Number = Field(description="Negative where a cache would cost time.")
    value_of_saved_ms: Amount = Field(
        description="Money that a millisecond less is worth, as set in the policy; 0 if none is set."
    )
    value_of_database_second: Amount = Field(
        description="Money that a second of the database is worth, as set in the policy; 0 if none is set."
    )


class SurfaceAnswer(Answer):
    """Hit ratio of a cache whose memory is limited, if everything goes through it."""

    ttl_seconds: list[Amount] = Field(description="The TTL of each row.")
    memory_bytes: list[Estimate] = Field(description="The memory of each column.")
    hit_ratio: list[list[Share]]


class SampleAnswer(Answer):
    """The sample on which the figures are based."""

    rows: Count = Field(description="Rows of the query log.")
    hot_keys: Count = Field(description="Questions asked so often that all of their executions were kept.")
    lowest_rate: Share = Field(description="The lowest share of the other questions that was kept.")
    dropped: Count = Field(
        description="Executions that should have been kept, but were dropped because a queue was full."
    )


class SupposedAnswer(Answer):
    """The assumptions on the cache and its value, from the policy file."""

    currency: str = Field(description="ISO 4217.", examples=["USD"])
    value_of_saved_ms: Amount = Field(description="Money; 0 where none is set.")
    value_of_database_second: Amount = Field(description="Money; 0 where none is set.")
    lookup_ms: Amount = Field(description="To ask the cache and read its answer.")
    store_ms: Amount = Field(description="To put a result into the cache.")
    stale_budget: Share = Field(description="Share of the answers that may be older than a write.")
    reserve: Share = Field(description="Share of memory that stays free.")


class WholeDayAnswer(Answer):
    """From midnight to midnight in the report's time zone: 23 or 25 hours where clocks are changed.

    Less on the day on which recording began: from then on.
    """

    start: Moment
    end: Moment


class ReportAnswer(Answer):
    """The analysis of one day."""

    date: Day
    time_zone: str = Field(description="The time zone of the day.", examples=["Europe/Berlin"])
    period: WholeDayAnswer
    scale: Scale = Field(
        description=(
            "The time that sums cover. `day`: the whole day; `so_far`: a day that has not ended, as in the"
            " demo; `part`: the day on which recording began, from then to its end."
        )
    )
    covered_seconds: Amount = Field(description="Length of `period`.")
    made_at: Moment
    services: list[str] = Field(
        description=(
            "All services whose queries were recorded on that day, by name; the report is of all of them, as"
            " one cache may serve all. Empty where not known."
        ),
        examples=[["jobs-api", "shop"]],
    )
    currency: str = Field(description="Currency of all money; ISO 4217.", examples=["USD"])
    engine: Literal["redis", "valkey"] = Field(description="The engine for which memory is estimated.")
    worthwhile: bool = Field(description="Whether a cache would pay.")
    certainty: Certainty = Field(
        description=(
            "`certain`: at both ends of the interval, or nothing was estimated; `likely`: in its middle;"
            " `open`: by a rule of thumb, since no value is set for saved time."
        )
    )
    reason: str = Field(description="Why, in a sentence.")
    queries: QueriesAnswer
    plan: PlanAnswer | None = Field(description="Null where a cache would save time for no query.")
    cost_benefit: CostBenefitAnswer
    by_ttl: list[AtTtlAnswer] = Field(
        description="By TTL, if everything cacheable used the cache and writes dropped nothing."
    )
    most_repeated: list[TemplateAnswer] = Field(description="The ten with the most duplicates.")
    most_worth: list[TemplateAnswer] = Field(
        description=(
            "The ten to cache first, each with a TTL of its own: by latency saved, or by money where time has"
            " a value."
        )
    )
    not_cacheable: list[NotCacheableAnswer] = Field(description="The most first.")
    surface: SurfaceAnswer | None = Field(description="Null where everything takes next to no memory.")
    sample: SampleAnswer
    supposed: SupposedAnswer


class DayInBriefAnswer(Answer):
    """One day of the trend."""

    date: Day = Field(validation_alias=AliasChoices("date", "analysis_date"))
    total_queries: Count = Field(description="Executions that a cache could answer.")
    unique_queries: Count = Field(description="Different executions among them.")
    duplicate_queries: Count = Field(description="Executions that had been run before on that day.")
    duplicate_percentage: Percentage
    hit_potential: Share = Field(description="Share that the planned cache would have answered.")
    recommended_ttl_seconds: Amount | None = Field(description="Null where a cache saves no time.")
    estimated_memory_bytes: Count
    latency_saved_ms: Number
    monthly_cost: Number
    worthwhile: bool
    currency: str = Field(description="Currency of that day's money; ISO 4217.")


class CacheAnalysisAnswer(Answer):
    """Whether a cache before the database would pay: the latest analysis, and the trend."""

    period: DaysAnswer
    latest: ReportAnswer | None = Field(description="The last of the days asked for; null if there is none.")
    trend: list[DayInBriefAnswer] = Field(description="The days that have a report, the earliest first.")
    charts: ChartsAnswer
