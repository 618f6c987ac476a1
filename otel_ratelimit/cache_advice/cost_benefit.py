"""Whether a cache pays: what it costs a month against what it saves.

Only the owner of a system knows what a saved millisecond, or a second of the database, is worth. Where
neither has a price, a rule of thumb decides. A cache does not pay where it takes less than a tenth of the
queries' load off the database, since it is one more system to operate; and it does not pay in front of a
database that has hardly any load.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Final, Literal, TypeAlias

from otel_ratelimit.cache_advice.needs import Needs
from otel_ratelimit.cache_advice.number_format import apart
from otel_ratelimit.cache_advice.prices import DAYS_A_MONTH, PRICES, REQUESTS_PRICED_TOGETHER, Price
from otel_ratelimit.cache_advice.result import Result

MIN_LOAD_REDUCTION: Final = 0.1
MIN_LOAD: Final = 0.01
"""Share of the day for which the database is busy with queries; both belong to the rule of thumb."""
_DAY_MS: Final = 86_400_000.0

Certainty: TypeAlias = Literal["certain", "likely", "open"]


class CostBenefit(Result):
    """Whether a cache pays, and why."""

    price: Price
    """The cheapest of the prices."""
    monthly_cost: float
    by_price: tuple[tuple[str, float], ...]
    """Names and monthly costs of all prices, the cheapest first."""
    monthly_benefit: float
    """0 if saved time has no value."""
    latency_saved_ms_a_day: float
    load_reduction: float
    """Share of the database's time for queries, 0 to 1."""
    break_even_executions_a_day: float | None
    """With this many executions of the same kind a cache starts to pay; None if it never does, or if saved
    time has no value."""
    worthwhile: bool
    certainty: Certainty
    """certain: both ends of the interval say the same; likely: only its middle says so; open: only the rule
    of thumb says so."""
    reason: str


def calculate_redis_cost_benefit(
    needs: Needs,
    prices: Sequence[Price] = PRICES,
    *,
    value_of_saved_ms: float = 0.0,
    value_of_database_second: float = 0.0,
    reserve: float = 0.25,
    currency: str = "USD",
) -> CostBenefit:
    """Compare what a cache costs with what it brings.

    Args:
        needs: needs of a day that stands for all other days.
        prices: prices to choose the cheapest from.
        value_of_saved_ms: money, for a millisecond that one execution takes less.
        value_of_database_second: money, for a second that the database is not busy.
        reserve: share of memory that must stay free, for the engine's own work.
        currency: currency of all amounts; only named in the reason.

    Raises:
        ValueError: `prices` is empty, or `reserve` is not from 0 to less than 1.
    """
    if not prices:
        raise ValueError("there is no price; give at least one, or leave `prices` out for the presets")
    if not 0.0 <= reserve < 1.0:
        raise ValueError(f"reserve is {reserve}; give a share of memory from 0 to less than 1, such as 0.25")
    costs = sorted(((price.monthly(needs, reserve), price) for price in prices), key=lambda pair: pair[0])
    cost, cheapest = costs[0]

    def benefit(latency_saved_ms: float, database_saved_ms: float) -> float:
        of_database = value_of_database_second * database_saved_ms / 1_000.0
        return DAYS_A_MONTH * (value_of_saved_ms * latency_saved_ms + of_database)

    reduction = needs.database_saved_ms / needs.database_ms if needs.database_ms > 0.0 else 0.0
    has_value = value_of_saved_ms > 0.0 or value_of_database_second > 0.0
    gained = benefit(needs.latency_saved_ms, needs.database_saved_ms)
    if has_value:
        worthwhile = _is_more(gained, cost)
        ends = (
            _is_more(benefit(needs.latency_saved_low_ms, needs.database_saved_low_ms), cost),
            _is_more(benefit(needs.latency_saved_high_ms, needs.database_saved_high_ms), cost),
        )
        certainty: Certainty = "certain" if ends[0] == ends[1] == worthwhile else "likely"
        relation = "more" if worthwhile else "not more"
        brings, costs_month = apart(gained, cost, _amount, 2)
        reason = f"it brings {brings} {currency} a month, {relation} than the {costs_month} that it costs"
    else:
        load = needs.database_ms / _DAY_MS
        worthwhile = needs.latency_saved_ms > 0.0 and reduction >= MIN_LOAD_REDUCTION and load >= MIN_LOAD
        certainty = "open"
        reason = _rule_of_thumb(needs, reduction, load, f"{cost:,.2f} {currency}")
    return CostBenefit(
        price=cheapest,
        monthly_cost=cost,
        by_price=tuple((price.name, money) for money, price in costs),
        monthly_benefit=gained,
        latency_saved_ms_a_day=needs.latency_saved_ms,
        load_reduction=reduction,
        break_even_executions_a_day=_break_even(needs, prices, reserve, gained) if has_value else None,
        worthwhile=worthwhile,
        certainty=certainty,
        reason=reason,
    )


def _is_more(gained: float, cost: float) -> bool:
    return gained > cost and not isclose(gained, cost)


def _amount(money: float, digits: int) -> str:
    least = 10.0**-digits
    return f"less than {least:.{digits}f}" if 0.0 < money < least else f"{money + 0.0:,.{digits}f}"


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _rule_of_thumb(needs: Needs, reduction: float, load: float, cost: str) -> str:
    """Only shares are named: they are the same for a day and for a part of a day."""
    without = f"no value is set for saved time; it would cost {cost} a month"
    if needs.latency_saved_ms <= 0.0:
        return f"asking the cache takes longer than its answers save; {without}"
    if load < MIN_LOAD:
        busy, _ = apart(load, MIN_LOAD, _percent, 2)
        return (
            f"the database is busy with queries for {busy} of the time, less than {100 * MIN_LOAD:.0f} %,"
            f" so that there is little to take off it; {without}"
        )
    if reduction < MIN_LOAD_REDUCTION:
        part, _ = apart(reduction, MIN_LOAD_REDUCTION, _percent, 1)
        few = f", less than {100 * MIN_LOAD_REDUCTION:.0f} %"
        return f"it takes {part} of the load off the database{few}; {without}"
    return f"it takes {_percent(reduction, 1)} of the load off the database; {without}"


def _break_even(needs: Needs, prices: Sequence[Price], reserve: float, gained: float) -> float | None:
    """Executions a day from which their benefit, less the price of their requests, pays for the memory.

    At that number of executions another price may be the cheapest one.
    """
    if needs.executions_a_day <= 0.0:
        return None
    found = []
    for price in prices:
        for_requests = price.million_requests * DAYS_A_MONTH * needs.requests_a_day / REQUESTS_PRICED_TOGETHER
        fixed = price.monthly(needs, reserve) - for_requests
        each = (gained - for_requests) / needs.executions_a_day
        if each > 0.0:
            found.append(fixed / each)
    return min(found, default=None)
