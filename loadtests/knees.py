"""Looks for the knees of all contenders side by side, and tells what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from loadtests.comparison import Contender
from loadtests.generator.process import Generator
from loadtests.knee import Search, search_all
from loadtests.measures.resampling import Figure
from loadtests.outcome import Knee, Try
from loadtests.trial import Trials
from loadtests.verdict import MOST_LAG_MS

# Where the search begins, and what one generator offers at most.
FIRST_RATE, CEILING = 100.0, 20_000.0


def find_knees(
    contenders: Sequence[Contender],
    generator: Generator,
    *,
    limit_ms: float,
    seed: int,
    on_try: Callable[[str, Search], None] = lambda _name, _search: None,
) -> tuple[dict[str, Knee], bool]:
    """The knees, label -> what was found, and whether all searches came to their ends; Ctrl-C ends them early.

    Args:
        contenders: whose pools the generator is given here.
        generator: that sends.
        limit_ms: the objective for the p99.
        seed: of the order and the arrivals.
        on_try: called after each try.
    """
    generator.prepare({one.label: one.pool for one in contenders})
    trials = Trials(generator, limit_ms, seed)
    named = {one.label: one for one in contenders}
    begin = {label: Search(FIRST_RATE, ceiling=CEILING) for label in named}
    ends = search_all(begin, lambda label, rate: trials.meets(named[label], rate), seed=seed, on_step=on_try)
    knees = {label: _knee(label, search, trials.seen.get(label, []), limit_ms) for label, search in ends.items()}
    return knees, all(search.done for search in ends.values())


def _knee(label: str, search: Search, tried: Sequence[Try], limit_ms: float) -> Knee:
    missed = [each for each in tried if not each.met and search.missed is not None and each.rate <= search.missed]
    bound = bool(missed) and missed[-1].lag_p99_ms > MOST_LAG_MS
    at_ceiling = search.knee is not None and search.knee >= search.ceiling
    return Knee(label, limit_ms, search.knee, search.missed, tuple(tried), bound or at_ceiling)


def rate_ratio(own: Knee | None, full: Knee | None) -> Figure | None:
    """Own knee / the full version's. Its interval is the width that the two searches left, not a chance's.

    None where one of them has no knee, or ended at what the generator can offer.
    """
    if own is None or full is None or not own.rate or not full.rate or own.generator_bound or full.generator_bound:
        return None
    low = own.rate / (full.missed or math.inf)
    high = (own.missed or math.inf) / full.rate
    return Figure(own.rate / full.rate, (low, high) if math.isfinite(high) and low > 0 else None)


def lowest(knees: Mapping[str, Knee]) -> float | None:
    """The lowest rate of all; None where a version has none."""
    rates = [knee.rate for knee in knees.values()]
    return min(rates) if rates and None not in rates else None  # type: ignore[type-var]
