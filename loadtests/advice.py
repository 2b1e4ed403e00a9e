"""Says in a sentence what a comparison found, and whether to ship the variant. Pure functions of figures and cards.

What forbids it comes first, then what it gains, then whether its answers are known to be good enough. Where too little
is known for a firm word, the sentence says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from loadtests.measures.summary import Summary
from loadtests.outcome import Card
from loadtests.verdict import Difference, Held, Versus, times

LEAST_AGREEMENT = 0.98
# More of the requests may fail than of the full version's by that share.
MOST_MORE_ERRORS = 0.001


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of a variant and of what it is held against.

    Attributes:
        found: the two held against each other.
        own: the variant's figures.
        full: the other's.
        card: the variant's.
        full_card: the other's.
        valid: whether the run's times are to be believed.
    """

    found: Versus
    own: Summary
    full: Summary
    card: Card
    full_card: Card
    valid: bool = True


def sentence(case: Case) -> str:
    """What was found, and what follows; from the times of an invalid run nothing does."""
    told = [f"{_latency(case.found)}{_rate(case.found)}"]
    agreement = case.found.agreement
    if agreement is not None:
        low, high = agreement.interval
        told.append(f"agreement {agreement.share:.1%} [{low:.1%}, {high:.1%}] of {agreement.rows} rows")
    if case.card.verdict is not None:
        told.append(f"the gate's verdict: {case.card.verdict}")
    said = "; ".join([*told, advice(case)])
    return said if case.valid else disowned(said)


def disowned(seen: str) -> str:
    """What an invalid run saw, for whoever looks for what went wrong."""
    return f"this run is invalid and its times prove nothing; what it saw: {seen}"


def _latency(found: Versus) -> str:
    tail = "" if found.p99 is not None else " (the answers are too few to tell of a p99)"
    if isnan(found.p50.value):
        return f"nothing is known of the latency of {found.version} beside {found.full}, for want of answers"
    if found.difference == "no difference":
        seen = [f"p50 {times(found.p50)}", *([f"p99 {times(found.p99)}"] if found.p99 is not None else [])]
        return f"no difference in latency to {found.full} was shown for {found.version} ({', '.join(seen)}){tail}"
    seen = [*([times(found.p99, "the p99")] if found.p99 is not None else []), times(found.p50, "the p50")]
    return f"{found.version} carries the same traffic at {' and '.join(seen)} of {found.full}{tail}"


def _rate(found: Versus) -> str:
    if found.rate is None:
        return ""
    if found.difference == "no difference":
        joined = ", but it holds" if found.held in ("more", "less") else ", nor one in what it holds:"
        return f"{joined} {times(found.rate, 'the rate')}"
    return f" and holds {times(found.rate, 'the rate')}"


def advice(case: Case) -> str:
    """Whether to ship it, or why not."""
    return next(said for said in (rule(case) for rule in _RULES) if said is not None)


def _wrong(case: Case) -> str | None:
    wrong = case.own.errors.get("wrong answer")
    return f"do not ship it: {wrong} of its answers were wrong" if wrong else None


def _failing(case: Case) -> str | None:
    failed, before = (sum(one.errors.values()) / max(one.requests, 1) for one in (case.own, case.full))
    if failed <= before + MOST_MORE_ERRORS:
        return None
    return f"do not ship it: {failed:.2%} of its requests failed, {before:.2%} of the full version's"


def _refused(case: Case) -> str | None:
    return f"do not ship it: the gate refused it{_why(case.card)}" if case.card.verdict == "fail" else None


def _disagreeing(case: Case) -> str | None:
    agreement = case.found.agreement
    if agreement is None or agreement.interval[1] >= LEAST_AGREEMENT:
        return None
    return f"do not ship it: an agreement of at least {LEAST_AGREEMENT:.0%} is asked"


def _unproven(case: Case) -> str | None:
    return None if case.valid else "whether to ship it is open: the run is invalid"


def _no_gain(case: Case) -> str | None:
    match case.found.difference, case.found.held:
        case "slower", held if held != "more":
            return "do not ship it for speed"
        case "faster", "less":
            return "do not ship it: it is quicker at this traffic, but holds less"
        case "no difference", "less":
            return "do not ship it for speed: it holds less"
        case "no difference", held if held != "more" and not _may_be_smaller(case):
            return "nothing speaks for it: it is neither quicker nor smaller"
    return None


def _open(case: Case) -> str | None:
    """Its answers are not known to be good enough, nor to be bad."""
    agreement, gate = case.found.agreement, case.card.verdict
    if gate == "insufficient-data":
        return f"whether to ship it is open: the gate had too little data{_why(case.card)}"
    if agreement is None:
        return None if gate == "pass" else f"{_gain(case)}, if its answers are good enough: nothing here tells that"
    if (agreement.share if gate == "pass" else agreement.interval[0]) >= LEAST_AGREEMENT:
        return None
    asked = f"an agreement of at least {LEAST_AGREEMENT:.0%}"
    return f"whether to ship it is open: {asked} is neither shown nor refuted by {agreement.rows} rows (more: --data)"


def _gain(case: Case) -> str:
    kind: tuple[Difference, Held] = (case.found.difference, case.found.held)
    if kind == ("slower", "more"):
        return "ship it only where rate counts for more than latency"
    if kind[0] == "no difference" and kind[1] != "more":
        size = _size_ratio(case)
        return "ship it only for its size" + ("" if size is None else f", {size:.2f}x")
    return "ship it"


_FORBIDS: tuple[Callable[[Case], str | None], ...] = (_wrong, _failing, _refused, _disagreeing)
_RULES = (*_FORBIDS, _unproven, _no_gain, _open, _gain)


def _why(card: Card) -> str:
    return f" ({'; '.join(card.reasons)})" if card.reasons else ""


def _may_be_smaller(case: Case) -> bool:
    size = _size_ratio(case)
    return size is None or size < 1


def _size_ratio(case: Case) -> float | None:
    own, full = case.card.size_bytes, case.full_card.size_bytes
    return own / full if own and full else None
