"""Looks for the knees of all contenders side by side, and tells what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from loadtests.comparison import Contender
from loadtests.generator.process import Generator
from loadtests.knee import MOST_S, Search, search_all
from loadtests.measures.resampling import Figure
from loadtests.outcome import Knee, Try
from loadtests.trial import Trials
from loadtests.verdict import MOST_LAG_MS

# What one generator offers at most.
CEILING = 20_000.0
BOUND = "the generator can offer no more, or other work keeps it from it (--cores)"


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
    begin = {label: Search(CEILING, MOST_S * len(named)) for label in named}
    ends = search_all(
        begin, lambda label, rate: trials.meets(named[label], rate), time.monotonic, seed=seed, on_step=on_try
    )
    knees = {label: _knee(label, search, trials.seen.get(label, []), limit_ms) for label, search in ends.items()}
    return knees, all(search.done for search in ends.values())


def _knee(label: str, search: Search, tried: Sequence[Try], limit_ms: float) -> Knee:
    bound = search.at_ceiling or _late(tried, limit_ms)
    return Knee(label, limit_ms, search.knee, search.interval, search.settled, tuple(tried), bound)


def _late(tried: Sequence[Try], limit_ms: float) -> bool:
    """Whether most of the misses are the generator's: without its lag they would have been met."""
    own = [one.lag_p99_ms > MOST_LAG_MS and one.p99_ms - one.lag_p99_ms <= limit_ms for one in tried if not one.met]
    return sum(own) * 2 > len(own)


def notes(knees: Mapping[str, Knee]) -> list[str]:
    """What a reader of the knees should know, a sentence each."""
    found = []
    for label, knee in knees.items():
        if knee.rate is None:
            continue
        if knee.generator_bound:
            found.append(f"The knee of {label} is at least {knee.rate:.0f}/s: {BOUND}.")
        elif knee.interval is not None and not knee.settled:
            low, high = knee.interval
            found.append(
                f"The knee of {label} lies between {low:.0f} and {high:.0f}/s: the {len(knee.tried)} tries did not "
                "agree on more. Other work on the machine does that."
            )
    return found


def rate_ratio(own: Knee | None, full: Knee | None) -> Figure | None:
    """Own knee / the full version's; its interval is made of theirs, whose errors are independent of each other.

    By MOVER on logarithms (Zou and Donner, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27 (2008)). None where one of them has no knee, or one that the generator set.
    """
    if own is None or full is None or not own.rate or not full.rate or own.generator_bound or full.generator_bound:
        return None
    ratio = own.rate / full.rate
    if own.interval is None or full.interval is None:
        return Figure(ratio)
    own_low, own_high = (abs(math.log(end / own.rate)) for end in own.interval)
    full_low, full_high = (abs(math.log(end / full.rate)) for end in full.interval)
    low, high = math.hypot(own_low, full_high), math.hypot(own_high, full_low)
    return Figure(ratio, (ratio * math.exp(-low), ratio * math.exp(high)))


def lowest(knees: Mapping[str, Knee]) -> float | None:
    """The lowest rate of all; None where a version has none."""
    rates = [knee.rate for knee in knees.values()]
    return min(rates) if rates and None not in rates else None  # type: ignore[type-var]
